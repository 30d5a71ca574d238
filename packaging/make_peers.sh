#!/bin/sh
# The environment of the peers that tests/benchmarks/peers.py compares Regard with and that come from PyPI: SyN, greedy
# and convexAdam. They need older numpy and scipy than Regard may have, so they get an environment of their own.
#
#     packaging/make_peers.sh FOLDER [PYTHON]
#     python tests/benchmarks/peers.py --peers-python FOLDER/bin/python
#
# elastix and plastimatch come from the system: apt-get install elastix plastimatch
set -eu

folder=${1:?"usage: make_peers.sh FOLDER [PYTHON]"}
python=${2:-python3}

"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet \
    "antspyx==0.6.3" "picsl_greedy==1.4.0.3" "convexAdam==0.2.0" "torch==2.13.0" "SimpleITK==2.5.7"
"$folder/bin/python" -c "import ants, convexAdam, picsl_greedy"
echo "peers in $folder/bin/python"
