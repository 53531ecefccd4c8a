// Puts all files of a folder into a bucket, as fast as the server takes them: kept connections, no checksum, no listing, nothing looked at.
//
// What it needs is the limit of the server and the machine: no program that uploads can be faster than this, but by keeping the server less
// busy. S3 with Signature Version 4 and an unsigned body, or with -gcs Google's JSON interface without credentials.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func sign(request *http.Request, region string) {
	now := time.Now().UTC().Format("20060102T150405Z")
	day := now[:8]
	request.Header.Set("x-amz-date", now)
	request.Header.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
	names := "host;x-amz-content-sha256;x-amz-date"
	canonical := fmt.Sprintf("PUT\n%s\n\nhost:%s\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:%s\n\n%s\nUNSIGNED-PAYLOAD",
		request.URL.EscapedPath(), request.URL.Host, now, names)
	digest := sha256.Sum256([]byte(canonical))
	scope := day + "/" + region + "/s3/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + now + "\n" + scope + "\n" + hex.EncodeToString(digest[:])
	key := []byte("AWS4" + os.Getenv("AWS_SECRET_ACCESS_KEY"))
	for _, part := range []string{day, region, "s3", "aws4_request"} {
		key = sum(key, part)
	}
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		os.Getenv("AWS_ACCESS_KEY_ID"), scope, names, hex.EncodeToString(sum(key, text))))
}

func main() {
	endpoint := flag.String("endpoint", "", "URL of the server")
	bucket := flag.String("bucket", "", "bucket")
	prefix := flag.String("prefix", "", "prefix of the keys")
	region := flag.String("region", "us-east-1", "region that requests are signed for")
	parallel := flag.Int("parallel", 16, "requests at once")
	gcs := flag.Bool("gcs", false, "speak Google's JSON interface")
	flag.Parse()
	root := flag.Arg(0)

	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: *parallel,
		WriteBufferSize:     1 << 18,
		DisableCompression:  true,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // a server on loopback with a certificate of its own
	}}
	put := func(path string, size int64) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		below, _ := filepath.Rel(root, path)
		key := *prefix + "/" + filepath.ToSlash(below)
		method, target := http.MethodPut, *endpoint+"/"+*bucket+"/"+key
		if *gcs {
			method, target = http.MethodPost, *endpoint+"/upload/storage/v1/b/"+*bucket+"/o?uploadType=media&name="+url.QueryEscape(key)
		}
		request, err := http.NewRequest(method, target, file)
		if err != nil {
			return err
		}
		request.ContentLength = size
		if !*gcs {
			sign(request, *region)
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s %s", key, answer.Status, strings.TrimSpace(string(text)))
		}
		return nil
	}

	type found struct {
		path string
		size int64
	}
	files := make(chan found, 1024)
	failures := make(chan error, *parallel)
	var workers sync.WaitGroup
	for range *parallel {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for file := range files {
				if err := put(file.path, file.size); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	walked := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		select {
		case err := <-failures:
			return err
		case files <- found{path, info.Size()}:
			return nil
		}
	})
	close(files)
	workers.Wait()
	select {
	case err := <-failures:
		walked = err
	default:
	}
	if walked != nil {
		fmt.Fprintln(os.Stderr, walked)
		os.Exit(1)
	}
}
