#!/usr/bin/env bash
# System packages that the tests of the window need: a virtual display, software OpenGL, what Qt's X11 plugin links to.
# Does nothing where they are there; without root it prints the command to type, and those tests skip.
set -euo pipefail
packages=(
  xvfb xauth xdotool
  libgl1 libegl1 libglx-mesa0 libgl1-mesa-dri
  libx11-xcb1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1
  libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xfixes0 libxcb-xkb1 libxcb-xinerama0
  libfontconfig1 libfreetype6 libdbus-1-3 fonts-dejavu-core
)
command -v dpkg-query >/dev/null || { echo "not a Debian: install Xvfb and Qt's X11 libraries by hand" >&2; exit 0; }
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
  echo "tests of the window will skip; to run them: sudo ${install[*]}" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
"${install[@]}" >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && "${install[@]}" >/dev/null 2>&1; } ||
  echo "these packages could not be installed, tests of the window will skip: ${missing[*]}" >&2
