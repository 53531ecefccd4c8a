# Copies a release from its object store to $VOLUME/release and verifies every byte. Runs in rclone's image: POSIX shell, busybox, rclone.
#
# BASE         rclone's name of the folder of all releases, such as :s3:bucket/prefix. In it:
#                .manifests/<RELEASE>.sums          a line "<sha256> <bytes> <model>/<path>" a file, sorted by path
#                models/<model>-<hash>/<model>/...  the model's files; hash: first 16 digits of the SHA-256 of its lines
# RELEASE      SHA-256 (hex) of that list: it comes with the pod, not from the store, so a store that was tampered with can't vouch for itself
# MODELS       models to copy, with spaces between; empty: all
# PARALLELISM  files in flight
# VOLUME       folder of the volume; what a killed run has left there is kept when it is right and replaced when it is not
#
# Ends with 0 when all files are there and right, else with 1 and a sentence in the pod's status (kubectl describe pod).
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

# Last thing that rclone has complained of, without its time.
reason() {
    sed -n 's/^[0-9/]* [0-9:]* \(ERROR\|CRITICAL\|NOTICE\) *: *//p' "$work/log" | grep -v '^ *Config file' | tail -n 1 | cut -c 1-600
}

# rclone in the background, because a shell acts on SIGTERM only while it waits; its messages go to the pod's log and to a file.
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
mkdir -p "$work" "$trees" "$target" || fail "The volume at $VOLUME can't be written to as user $(id -u): no model can be copied. Check the storage class, or use emptyDir."
# No configuration file is wanted: everything is in the environment.
export RCLONE_CONFIG=/dev/null RCLONE_S3_NO_CHECK_BUCKET=true
# A store that is away for a minute goes unnoticed; one that stays away is told, and Kubernetes begins anew, ever more seldom.
export RCLONE_RETRIES="${RCLONE_RETRIES:-3}" RCLONE_RETRIES_SLEEP=2s RCLONE_LOW_LEVEL_RETRIES="${RCLONE_LOW_LEVEL_RETRIES:-5}"
export RCLONE_CONTIMEOUT=10s RCLONE_TIMEOUT=60s

say "list of release $RELEASE"
run cat "$sums" >"$work/all" ||
    fail "The list of the release ($sums) can't be read: $(reason). Check that the pod's identity may read the bucket, that the release was published with a list (pulumi up), and the network."
test -s "$work/all" ||
    fail "The list of the release ($sums) is not there or empty: $(reason). Publish the release again with pulumi up."
found=$(sha256sum <"$work/all" | cut -d ' ' -f 1)
test "$found" = "$RELEASE" ||
    fail "The list of the release ($sums) has the SHA-256 $found and not the release's: the bucket was changed behind our back, nothing of it is used. Run pulumi refresh and pulumi up."

# All lines of the wanted models, and a file of its own for each model's.
mkdir -p "$work/models"
awk -v models="$MODELS" -v folder="$work/models" '
    BEGIN { count = split(models, names, " "); for (i = 1; i <= count; i++) wanted[names[i]] = 1 }
    {
        path = $0
        sub(/^[^ ]+ [^ ]+ /, "", path)
        model = path
        sub(/\/.*/, "", model)
        if (count && !(model in wanted)) next
        if (model != last) { if (last != "") close(folder "/" last); last = model }  # sorted: one model after another
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

# Model by model: where it lies in the store, what is copied, which hash each file must have. A model that an earlier run has already put into
# its place goes back to where copies are compared, which costs nothing within a volume.
for list in "$work/models"/*; do
    model=${list##*/}
    tree=$model-$(sha256sum <"$list" | cut -c 1-16)
    mkdir -p "$trees/$tree"
    test ! -e "$target/$model" || test -e "$trees/$tree/$model" || mv "$target/$model" "$trees/$tree/$model"
    echo "/$tree/**" >>"$work/wanted"
    echo "$tree $model" >>"$work/places"
    sed "s|^\([^ ]*\) [^ ]* |\1  $tree/|" "$list" >>"$work/hashes"
done

# What a killed run was in the midst of. The suffix is ours; a model's file of such a name would come again.
find "$trees" -type f -name '*.prefetch' -exec rm -f {} +
here=$(du -sk "$trees" | cut -f 1)
free=$(df -Pk "$VOLUME" | awk 'NR == 2 { print $4 }')
awk -v need="$kib" -v here="$here" -v free="$free" 'BEGIN { exit !(need - here <= free) }' ||
    fail "The volume has $free KiB free, and the models need $kib KiB, of which $here KiB are there: the copy would not fit. Raise prefetch.volume.size, or use nodes with more disk."

copy() {
    # By folder and not by file: folders are listed side by side, where names would each be asked for, or all releases be listed.
    # --size-only: times say nothing here, and the hashes of all are taken below. A small buffer a file, so that memory stays bounded.
    run copy "$BASE/models" "$trees" --include-from "$work/wanted" --size-only --use-server-modtime --no-update-modtime \
        --ignore-checksum --transfers "$PARALLELISM" --checkers "$PARALLELISM" --buffer-size 1Mi \
        --multi-thread-streams 4 --multi-thread-cutoff 256Mi --partial-suffix .prefetch \
        --stats 10s --stats-one-line --stats-log-level NOTICE ||
        fail "The copy failed: $(reason). What has arrived is kept and the next attempt goes on from there."
}

# Marks of the verdict: "=" is equal, "-" is no file of the release, the others are missing, different or unreadable.
verify() {
    say "verifying"
    run checksum sha256 "$work/hashes" "$trees" --checkers "$PARALLELISM" --combined "$work/verdict" --log-level CRITICAL || :
    sed -n 's/^- //p' "$work/verdict" | while IFS= read -r path; do
        say "not of the release, removed: $path"
        rm -f "$trees/$path"
    done
    sed -n 's/^[+*!] //p' "$work/verdict" >"$work/wrong"
    right=$(grep -c '^= ' "$work/verdict" || :)
    test ! -s "$work/wrong" && test "$right" = "$files"
}

began=$(date +%s)
say "$files files, $kib KiB, $PARALLELISM at once"
copy
if ! verify; then
    say "$(wc -l <"$work/wrong") files are not what was published: once more"
    while IFS= read -r path; do rm -f "$trees/$path"; done <"$work/wrong"
    copy
    verify ||
        fail "$(wc -l <"$work/wrong") files are not what was published, twice, such as $(head -n 3 "$work/wrong" | tr '\n' ' '): the bucket was changed behind our back, or the disk errs. Run pulumi refresh and pulumi up, or use another node."
fi
while read -r tree model; do mv "$trees/$tree/$model" "$target/$model"; done <"$work/places"
rm -rf "$work" "$trees"
say "done: $files files, $kib KiB in $(($(date +%s) - began)) s"
