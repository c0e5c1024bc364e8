#!/usr/bin/env bash
# Run the tests with the oldest and the newest Python and PyTorch that pyproject.toml allows.
#
# Usage: tests/matrix.sh [FOLDER]      environments are created in FOLDER (default: .venv-matrix) and used again
#
# PYTHON_OLD and PYTHON_NEW name the interpreters (default: python3.10 and python3.13); PYTEST_ARGS goes to pytest.
# TORCH_OLD must be the lower bounds in pyproject.toml; a check below fails where they differ.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.venv-matrix}
TORCH_OLD=${TORCH_OLD:-"torch==2.6.0 torchvision==0.21.0"}
for pin in $TORCH_OLD; do
  lower="${pin%%==*}>=$(echo "${pin##*==}" | cut -d. -f1,2)"
  grep -q "\"$lower," pyproject.toml || { echo "pyproject.toml does not say $lower; change TORCH_OLD"; exit 1; }
done

run() { # name, interpreter, packages that are installed first
  local bin="$folder/$1/bin"
  [ -x "$bin/python" ] || "$2" -m venv "$folder/$1"
  # shellcheck disable=SC2086
  "$bin/python" -m pip install --quiet --disable-pip-version-check $3
  "$bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'
  "$bin/python" -c 'import sys, torch; print("Python", sys.version.split()[0], "with torch", torch.__version__)'
  # shellcheck disable=SC2086
  OMP_NUM_THREADS=1 "$bin/python" -m pytest -n 2 ${PYTEST_ARGS:-}
}

run oldest "${PYTHON_OLD:-python3.10}" "$TORCH_OLD"
run newest "${PYTHON_NEW:-python3.13}" "torch torchvision"
