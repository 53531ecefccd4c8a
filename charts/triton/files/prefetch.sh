# Copies a release from its object store to $VOLUME/release and verifies every byte. Runs in rclone's image: POSIX shell, busybox, rclone.
#
# BASE         rclone's name for the folder of all releases, such as :s3:bucket/prefix. It contains:
#                .manifests/<RELEASE>.sums          one line "<sha256> <bytes> <model>/<path>" per file, sorted by path
#                models/<model>-<hash>/<model>/...  the model's files; hash: first 16 digits of the SHA-256 of its lines
# RELEASE      SHA-256 (hex) of that list. It comes with the pod and not from the store, so that a changed store is detected.
# MODELS       models to copy, separated by spaces; empty: all
# PARALLELISM  files in flight
# VOLUME       folder of the volume. Correct files of a run that was killed are kept, others are replaced.
#
# Exits with 0 when all files are complete and correct, otherwise with 1 and the reason in the pod's status (kubectl describe pod).
set -eu
umask 022

work="$VOLUME/.prefetch"
trees="$VOLUME/.trees"
target="$VOLUME/release"
sums="$BASE/.manifests/$RELEASE.sums"
: "${MESSAGE:=/dev/termination-log}"

say() { echo "prefetch: $*" >&2; }

fail() {
    say "$*"
    echo "$*" >"$MESSAGE" 2>/dev/null || :
    exit 1
}

# rclone's last error, without its time.
reason() {
    sed -n 's/^[0-9/]* [0-9:]* \(ERROR\|CRITICAL\|NOTICE\) *: *//p' "$work/log" | grep -v '^ *Config file' | tail -n 1 | cut -c 1-600
}

# Run rclone in the background, because a shell handles SIGTERM only in `wait`. Its messages go to the pod's log and to a file.
run() {
    rm -f "$work/pipe"
    mkfifo "$work/pipe"
    tee "$work/log" <"$work/pipe" >&2 &
    reader=$!
    rclone "$@" 2>"$work/pipe" &
    child=$!
    code=0
    wait "$child" || code=$?
    wait "$reader" || :
    return "$code"
}
child=
trap 'test -z "$child" || kill "$child" 2>/dev/null; exit 143' TERM INT

rm -rf "$work"
mkdir -p "$work" "$trees" "$target" || fail "User $(id -u) can't write to the volume at $VOLUME: no model can be copied. Check the storage class, or use emptyDir."
# No configuration file: everything is in the environment.
export RCLONE_CONFIG=/dev/null RCLONE_S3_NO_CHECK_BUCKET=true
# Retries bridge an outage of about a minute. After a longer one the container fails, and Kubernetes restarts it with increasing delays.
export RCLONE_RETRIES="${RCLONE_RETRIES:-3}" RCLONE_RETRIES_SLEEP=2s RCLONE_LOW_LEVEL_RETRIES="${RCLONE_LOW_LEVEL_RETRIES:-5}"
export RCLONE_CONTIMEOUT=10s RCLONE_TIMEOUT=60s

say "list of release $RELEASE"
run cat "$sums" >"$work/all" ||
    fail "The list of the release ($sums) can't be read: $(reason). Check that the pod's identity may read the bucket, that the release was published (pulumi up), and the network."
test -s "$work/all" ||
    fail "The list of the release ($sums) is missing or empty: $(reason). Publish the release again with pulumi up."
found=$(sha256sum <"$work/all" | cut -d ' ' -f 1)
test "$found" = "$RELEASE" ||
    fail "The list of the release ($sums) has the SHA-256 $found, not the release's: the bucket was changed outside of Pulumi, so nothing from it is used. Run pulumi refresh and pulumi up."

# Select the lines of the wanted models, and write those of each model to a separate file.
mkdir -p "$work/models"
awk -v models="$MODELS" -v folder="$work/models" '
    BEGIN { count = split(models, names, " "); for (i = 1; i <= count; i++) wanted[names[i]] = 1 }
    {
        path = $0
        sub(/^[^ ]+ [^ ]+ /, "", path)
        model = path
        sub(/\/.*/, "", model)
        if (count && !(model in wanted)) next
        if (model != last) { if (last != "") close(folder "/" last); last = model }  # sorted: models are contiguous
        seen[model] = 1
        bytes += $2
        files++
        print >(folder "/" model)
    }
    END {
        for (model in wanted) if (!(model in seen)) missing = missing " " model
        printf "files=%d kib=%.0f missing=\"%s\"\n", files, bytes / 1024, substr(missing, 2)
    }
' "$work/all" >"$work/totals"
. "$work/totals"
test -z "$missing" ||
    fail "The release has no model $missing: Triton would not start. Correct the deployment's models, or add it to the repository."

# For each model: its folder in the store, what to copy, and the hash of each file. A model that an earlier run has already moved to the
# target moves back, so that its files are compared too; within a volume this only renames a folder.
for list in "$work/models"/*; do
    model=${list##*/}
    tree=$model-$(sha256sum <"$list" | cut -c 1-16)
    mkdir -p "$trees/$tree"
    test ! -e "$target/$model" || test -e "$trees/$tree/$model" || mv "$target/$model" "$trees/$tree/$model"
    echo "/$tree/**" >>"$work/wanted"
    echo "$tree $model" >>"$work/places"
    sed "s|^\([^ ]*\) [^ ]* |\1  $tree/|" "$list" >>"$work/hashes"
done

# Delete partial files of a run that was killed. If a model has files with this suffix, they are copied again.
find "$trees" -type f -name '*.prefetch' -exec rm -f {} +
here=$(du -sk "$trees" | cut -f 1)
free=$(df -Pk "$VOLUME" | awk 'NR == 2 { print $4 }')
awk -v need="$kib" -v here="$here" -v free="$free" 'BEGIN { exit !(need - here <= free) }' ||
    fail "The volume has $free KiB free, and the models need $kib KiB, of which it holds $here KiB: the copy would not fit. Raise prefetch.volume.size, or use nodes with more disk."

copy() {
    # Filter by folder and not by file: rclone then lists folders in parallel, instead of requesting each name or listing all releases.
    # --size-only: times mean nothing here, and verify checks all hashes. A small buffer per file bounds the memory.
    run copy "$BASE/models" "$trees" --include-from "$work/wanted" --size-only --use-server-modtime --no-update-modtime \
        --ignore-checksum --transfers "$PARALLELISM" --checkers "$PARALLELISM" --buffer-size 1Mi \
        --multi-thread-streams 4 --multi-thread-cutoff 256Mi --partial-suffix .prefetch \
        --stats 10s --stats-one-line --stats-log-level NOTICE ||
        fail "The copy failed: $(reason). Complete files are kept, and the next attempt continues from them."
}

# Marks of --combined: "=" is equal, "-" is not part of the release, the others are missing, different or unreadable.
verify() {
    say "verifying"
    run checksum sha256 "$work/hashes" "$trees" --checkers "$PARALLELISM" --combined "$work/verdict" --log-level CRITICAL || :
    sed -n 's/^- //p' "$work/verdict" | while IFS= read -r path; do
        say "removed, not part of the release: $path"
        rm -f "$trees/$path"
    done
    sed -n 's/^[+*!] //p' "$work/verdict" >"$work/wrong"
    right=$(grep -c '^= ' "$work/verdict" || :)
    test ! -s "$work/wrong" && test "$right" = "$files"
}

began=$(date +%s)
say "$files files, $kib KiB, $PARALLELISM in parallel"
copy
if ! verify; then
    say "$(wc -l <"$work/wrong") files differ from what was published: copying them again"
    while IFS= read -r path; do rm -f "$trees/$path"; done <"$work/wrong"
    copy
    verify ||
        fail "$(wc -l <"$work/wrong") files differ from what was published after two copies, such as $(head -n 3 "$work/wrong" | tr '\n' ' '): the bucket was changed outside of Pulumi, or the disk is faulty. Run pulumi refresh and pulumi up, or use another node."
fi
while read -r tree model; do mv "$trees/$tree/$model" "$target/$model"; done <"$work/places"
rm -rf "$work" "$trees"
say "done: $files files, $kib KiB in $(($(date +%s) - began)) s"
