#!/usr/bin/env bash
# What a change of the pipeline must pass in CI: check.sh OUTPUT, with `swar` on the path.
#   1. The pipeline compiles for the engine that CONFIG names (default: the demo, on Vertex AI).
#   2. The demo trains a model that is blessed and published.
#   3. The gate refuses a model that was hardly trained: exit status 1, and nothing new is published.
set -euo pipefail
output=${1:?check.sh OUTPUT}
config=${CONFIG:-demo}
# Nothing is sent: any image will do, and a root that no task reads.
image=${IMAGE:-localhost/swar@sha256:$(printf '0%.0s' {1..64})}
root=${ROOT:-gs://not-sent/swar}
mkdir -p "$output"

swar compile --config "$config" "$output/pipeline.yaml" \
    --set "engine.image=$image" --set "engine.root=$root"

[[ -e $output/speech ]] || swar sample-data "$output/speech" --speakers 12 --seconds 60
swar run --config demo --data "$output/speech" --output "$output/demo"
cp "$output/demo/summary.json" "$output/summary.json"
published=$(ls "$output/demo/published")

status=0
swar run --config demo --data "$output/speech" --output "$output/demo" \
    --set trainer.weights=none --set trainer.epochs=1 --set trainer.steps_per_epoch=1 \
    --set trainer.warmup_steps=0 || status=$?
if [[ $status != 1 || $(ls "$output/demo/published") != "$published" ]]; then
    echo "the gate let a model pass that was hardly trained: exit status $status" >&2
    exit 1
fi
echo "compiled; the demo's model was published; a worse one was refused"
