# Waits until the node's metadata server has a token for this pod's service account. Runs in Triton's image: bash, coreutils.
#
# In a pod's first seconds GKE's metadata server may not answer, and a new IAM binding takes minutes to take effect. Triton asks for a token
# only once; without one it reads the bucket anonymously and finds no models.
#
# METADATA  host and port of the metadata server
# WAIT      longest wait, in seconds
#
# Exits with 0 when the server returns a token, otherwise with 1 and the reason in the pod's status (kubectl describe pod).
set -u
: "${METADATA:=metadata.google.internal:80}" "${WAIT:=300}" "${MESSAGE:=/dev/termination-log}"
export METADATA

ask() {
    # In a separate shell with a timeout: a connection that is not accepted would block this one.
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/${METADATA%:*}/${METADATA##*:}" || exit 1
        printf "GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.0\r\nHost: %s\r\nMetadata-Flavor: Google\r\n\r\n" "${METADATA%:*}" >&3
        IFS= read -r line <&3
        printf "%s" "${line%%[[:cntrl:]]*}"
    ' 2>/dev/null
}

while :; do
    answer="$(ask)"
    case "$answer" in
    "HTTP/"*" 200"*) exit 0 ;;
    esac
    if [ "$SECONDS" -ge "$WAIT" ]; then
        reason="no token for this service account after $WAIT s (${answer:-no answer from $METADATA}): Triton would read its models anonymously. Check that the service account's annotation names a Google service account that it may impersonate (roles/iam.workloadIdentityUser)."
        echo "identity: $reason" >&2
        echo "$reason" >"$MESSAGE" 2>/dev/null || :
        exit 1
    fi
    sleep 1
done
