#!/usr/bin/env bash
# Installs what the web demo's tests need from Debian's packages: Chromium, Node.js and npm.
# Does nothing where they are; without the right to install it says what is missing and ends with 3.
set -euo pipefail

missing=()
command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing+=(chromium)
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
if [ "${1:-}" = "--firefox" ]; then
  command -v firefox-esr > /dev/null || command -v firefox > /dev/null || missing+=(firefox-esr)
fi
if [ ${#missing[@]} -eq 0 ]; then
  echo "web_demo/setup.sh: everything is here"
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
  echo "web_demo/setup.sh: missing: ${missing[*]}; on Debian run: sudo apt-get install ${missing[*]}" >&2
  exit 3
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
echo "web_demo/setup.sh: installed ${missing[*]}"
