# Sourced by the scripts beside it: `expect WHAT FOUND WANTED` ends the script where the two differ.
expect() {
  if [[ "$2" != "$3" ]]; then
    printf '%s: found <%s>, wanted <%s>\n' "$1" "$2" "$3" >&2
    exit 41
  fi
}
