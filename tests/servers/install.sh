#!/bin/sh
# Installs the programs that the tests need and that are missing, from the distribution's packages. It removes
# nothing, configures nothing, and starts no service. It names what it cannot install; those tests then skip.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=""
require() { [ -x "$1" ] || command -v "$1" >/dev/null || missing="$missing $2"; }
require postfix postfix
require /usr/lib/dovecot/imap dovecot-imapd
require /usr/lib/dovecot/pop3 dovecot-pop3d
require nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_mail_module.so ] || missing="$missing libnginx-mod-mail"
require swaks swaks
perl -MNet::SSLeay -e 1 2>/dev/null || missing="$missing libnet-ssleay-perl"
require curl curl
require fetchmail fetchmail
require mbsync isync
require tmux tmux
require openssl openssl
require mandoc mandoc
require fail2ban-regex fail2ban
require logrotate logrotate
require cc "gcc libc6-dev"
headers='import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")'
python3 -c "$headers" 2>/dev/null || missing="$missing python3-dev"
[ -n "$missing" ] || exit 0

command="apt-get install --yes --no-remove --no-install-recommends$missing"
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "servers: some tests will skip; as root, this installs what they need: $command" >&2
    exit 0
fi

# The packages' scripts ask this file before they start a service.
policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-geomail-tests
forbids() {
    status=0
    "$policy" postfix start >/dev/null 2>&1 </dev/null || status=$?
    [ "$status" -eq 101 ]
}
release_services() {
    rm -f "$policy"
    [ ! -e "$kept" ] || mv "$kept" "$policy"
}
if ! forbids; then
    [ ! -e "$policy" ] || mv "$policy" "$kept"
    trap release_services EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

echo "servers: installing$missing"
export DEBIAN_FRONTEND=noninteractive
if command -v debconf-set-selections >/dev/null; then
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
fi
log=$(mktemp)
install() { $command </dev/null >"$log" 2>&1; }
if ! install; then
    apt-get update >/dev/null 2>&1 </dev/null || true
    install || { cat "$log" >&2; echo "servers: not installed; some tests will skip" >&2; }
fi
rm -f "$log"
