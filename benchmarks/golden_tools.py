"""Golden cases in other tools: each one's own loader reads its export. Their Python runs this.

``evalbench golden export FOLDER/TOOL.jsonl --as TOOL`` writes a file each (deepeval.json for
DeepEval; FOLDER/cases.jsonl is written without ``--as``). Then, where promptfoo is on the path:
``python benchmarks/golden_tools.py FOLDER``. One JSON line a claim; exit status 1 when one does
not hold.
"""

import json
import subprocess
import sys
from pathlib import Path

from claims import claim


def inspect(folder):
    from inspect_ai.dataset import json_dataset

    return [sample.target for sample in json_dataset(str(folder / "inspect.jsonl"))]


def deepeval(folder):
    from deepeval.dataset import EvaluationDataset

    dataset = EvaluationDataset()
    dataset.add_goldens_from_json_file(str(folder / "deepeval.json"))
    return [golden.expected_output for golden in dataset.goldens if golden.input]


def langfuse(folder):
    from langfuse.api import CreateDatasetItemRequest
    from langfuse.api.core.serialization import convert_and_respect_annotation_metadata as convert

    expected = []
    for line in (folder / "langfuse.jsonl").read_text().splitlines():
        wire = {"datasetName": "golden", **json.loads(line)}
        item = convert(object_=wire, annotation=CreateDatasetItemRequest, direction="read")
        expected.append(CreateDatasetItemRequest(**item).expected_output)
    return expected


def braintrust(folder):
    from braintrust import EvalCase

    lines = (folder / "braintrust.jsonl").read_text().splitlines()
    return [EvalCase(**json.loads(line)).expected for line in lines]


def promptfoo(folder):
    """Let it run all tests against a provider that repeats its prompt."""
    config = {"prompts": ["{{input}}"], "providers": ["echo"], "tests": "file://promptfoo.jsonl"}
    config["defaultTest"] = {"options": {"provider": "echo"}}
    (folder / "promptfooconfig.json").write_text(json.dumps(config))
    command = ["promptfoo", "eval", "-c", "promptfooconfig.json", "-o", "out.json", "--no-cache"]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
    results = json.loads((folder / "out.json").read_text())["results"]["results"]
    return [each["testCase"]["assert"][0]["value"] for each in results]


def main(folder):
    lines = (folder / "cases.jsonl").read_text().splitlines()
    expected = [json.loads(line)["expected"] for line in lines]
    holds = []
    for load in (inspect, deepeval, langfuse, braintrust, promptfoo):
        try:
            told = load(folder)
        except ImportError as error:
            told = []
            print(error, file=sys.stderr)
        share = sum(one == two for one, two in zip(told, expected, strict=False)) / len(expected)
        text = f"of {len(expected)} cases {load.__name__} reads this share whole"
        holds.append(claim(text, share, 1.0, load.__name__, at_most=False))
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
