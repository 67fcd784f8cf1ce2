"""A small task, whose outputs say what its parameters say and of which artifact they are made."""

import json
import os
import sys
from typing import Any


def main() -> None:
    executor_input = json.loads(sys.argv[1])
    values = executor_input["inputs"].get("parameterValues", {})
    print("working")
    if "fault" in values:
        raise SystemExit("components.errors.SwarError: " + values["fault"])
    artifacts = {}
    for key, held in executor_input["outputs"]["artifacts"].items():
        artifact = held["artifacts"][0]
        os.makedirs(artifact["uri"])
        metadata: dict[str, Any] = dict(values)
        for given in executor_input["inputs"].get("artifacts", {}).values():
            for item in given.get("artifacts", []):
                metadata["current_model_id"] = item["name"]
                metadata["seen"] = item["uri"]
        artifacts[key] = {"artifacts": [{"name": artifact["name"], "metadata": metadata}]}
    with open(executor_input["outputs"]["outputFile"], "w") as file:
        json.dump({"artifacts": artifacts}, file)


if __name__ == "__main__":
    main()
