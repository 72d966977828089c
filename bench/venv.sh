# Sourced by the scripts here: the Python of the measurements, in the folder that $target names; $venv tells where.
venv=$target/bench-venv
wanted=$(cksum <bench/seed/requirements.txt)
if [ "$(cat "$venv/.complete" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q -r bench/seed/requirements.txt
    printf '%s\n' "$wanted" >"$venv/.complete"
fi
