#!/usr/bin/env bash
# Java, Maven, ps and Chromium for the tests: installs what is missing where apt-get may, says what stays missing elsewhere.
set -euo pipefail

wanted=()
command -v java >/dev/null || wanted+=(default-jre-headless)
command -v mvn >/dev/null || wanted+=(maven)
command -v ps >/dev/null || wanted+=(procps)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || wanted+=(chromium)
[ ${#wanted[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing, so the tests that need them are skipped: ${wanted[*]}. Install them with the system's package manager."
  exit 0
fi
echo "Installing ${wanted[*]} …"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get -q update && apt-get -q install -y --no-install-recommends "${wanted[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 5 "$log"
  echo "Could not install ${wanted[*]}: the tests that need them are skipped."
fi
rm -f "$log"
