# For scripts/clients and scripts/prometheus: a temporary folder, a gateway on loopback, and packages
# unpacked beside the system. Sourced with the working directory at the root of the project.

FOLDER=$(mktemp -d)
STARTED=()

cleanup() {
    local pid
    for pid in "${STARTED[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$FOLDER"
}
trap cleanup EXIT

# Starts the built gateway with the given flags on a free port; sets ADDRESS and URL.
start_gateway() {
    local program=${FLOODWAY:-target/debug/floodway} log
    log=$(mktemp "$FOLDER/gateway.XXXX")
    [ -x "$program" ] || cargo build --locked
    "$program" --web.listen-address=127.0.0.1:0 "$@" 2>"$log" &
    STARTED+=($!)
    local try
    for try in $(seq 200); do
        ADDRESS=$(sed -n 's/.*msg="Listening on".*address=\([0-9.:]*\).*/\1/p' "$log")
        [ -z "$ADDRESS" ] || break
        sleep 0.05
    done
    [ -n "$ADDRESS" ] || { echo "the gateway did not start:" >&2; cat "$log" >&2; exit 1; }
    URL=http://$ADDRESS
}

# start_closed_gateway KEY VALUE...: a gateway with TLS and further lines of a web configuration file. Makes an
# authority ca.pem and its certificates server.pem and client.pem in $FOLDER/tls, where they are not yet.
start_closed_gateway() {
    local tls=$FOLDER/tls name config
    mkdir -p "$tls"
    printf '%s\n' '[req]' 'distinguished_name=dn' '[dn]' '[ca]' 'basicConstraints=critical,CA:TRUE' \
        '[server]' 'basicConstraints=CA:FALSE' 'subjectAltName=IP:127.0.0.1' \
        '[client]' 'basicConstraints=CA:FALSE' 'subjectAltName=DNS:client' >"$tls/openssl.cnf"
    for name in ca server client; do
        local signed=()
        [ "$name" = ca ] || signed=(-CA "$tls/ca.pem" -CAkey "$tls/ca.key")
        [ -e "$tls/$name.pem" ] || openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 \
            -config "$tls/openssl.cnf" -extensions "$name" -subj "/CN=$name" -keyout "$tls/$name.key" \
            -out "$tls/$name.pem" "${signed[@]}" 2>/dev/null
    done
    config=$(mktemp "$tls/web.XXXX.yml")
    printf '%s\n' 'tls_server_config:' '  cert_file: server.pem' '  key_file: server.key' "$@" >"$config"
    start_gateway --web.config.file="$config"
    URL=https://$ADDRESS
}

# The web configuration that lets in alice by her password, and the one that lets in whoever has a certificate.
BY_PASSWORD=('basic_auth_users:' '  alice: $2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi')
BY_CERTIFICATE=('  client_auth_type: RequireAndVerifyClientCert' '  client_ca_file: ca.pem')

# Makes the package lists of a suite ready and sets APT to the options that choose it. SUITE is `here`
# for what the system itself is set up for, or a suite of the same mirror. Fails where there is no such
# thing.
debian_suite() {
    local suite=$1 lists=$FOLDER/apt/$1
    APT=(-o APT::Sandbox::User= -qq)
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    if [ "$suite" = here ]; then
        apt-cache show bash >/dev/null 2>&1 || { [ "$(id -u)" -eq 0 ] && apt-get -qq update; }
        return
    fi
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
    [ -n "$mirror" ] && [ -f "$keys" ] || return 1
    APT+=(-o "Dir::Etc::sourcelist=$lists/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists/cache" -o Acquire::Languages=none)
    [ ! -e "$lists/updated" ] || return 0
    mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
    echo "deb [signed-by=$keys] $mirror $suite main" >"$lists/sources.list"
    apt-get "${APT[@]}" update && touch "$lists/updated"
}

# debian_packages FOLDER SUITE PACKAGE...: unpacks packages into a folder, without installing them.
debian_packages() {
    local into=$1 suite=$2 package
    shift 2
    debian_suite "$suite" && mkdir -p "$into/debs" || return 1
    (cd "$into/debs" && apt-get "${APT[@]}" download "$@") || return 1
    for package in "$into"/debs/*.deb; do
        dpkg-deb -x "$package" "$into" || return 1
    done
    rm -r "$into/debs"
}
