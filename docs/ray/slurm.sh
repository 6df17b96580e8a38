#!/usr/bin/env bash
# A Slurm allocation: one Ray node for each of its nodes, and the sweep on all of them.
# Usage: sbatch slurm.sh RESULTS ROW...     RESULTS on a file system that outlives the job
#SBATCH --job-name=vidcost
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=04:00:00
set -euo pipefail

results=$1
shift

# the environment that vidcost[ray] is installed in, on a file system that all nodes see
source "${VIDCOST_ENV:-$HOME/vidcost/.venv}/bin/activate"

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]}
port=$((20000 + SLURM_JOB_ID % 20000))

# starts Ray on every node, runs the command on the first one, and stops Ray with it
srun ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$SLURM_GPUS_ON_NODE" \
  --include-dashboard false --disable-usage-stats --object-store-memory 268435456 -- \
  vidcost time "$@" --device cuda --dtype fp32,tf32,bf16 \
  --engine ray --address "$head:$port" --results "$results"
