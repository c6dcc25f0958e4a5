"""Golden cases in other tools: each one's own loader reads its export. Their Python runs this.

The starter suite is exported for each of them, and read by the interpreter of ``.venv/peers``;
promptfoo where it is on the path. One JSON line a claim; exit status 1 when one does not hold.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from claims import claim

PEERS = Path(__file__).parents[1] / ".venv" / "peers" / "bin" / "python"


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


TOOLS = (inspect, deepeval, langfuse, braintrust, promptfoo)


def main(folder):
    lines = (folder / "cases.jsonl").read_text().splitlines()
    expected = [json.loads(line)["expected"] for line in lines]
    holds = []
    for load in TOOLS:
        try:
            told = load(folder)
        except (ImportError, FileNotFoundError) as error:
            print(f"{load.__name__} is not there: {error}", file=sys.stderr)
            continue
        share = sum(one == two for one, two in zip(told, expected, strict=False)) / len(expected)
        text = f"of {len(expected)} cases {load.__name__} reads this share whole"
        holds.append(claim(text, share, 1.0, load.__name__, at_most=False))
    return 0 if all(holds) else 1


def export(folder):
    """Write the starter suite for each tool, and as it is; give the exit status of reading it."""
    write = [sys.executable, "-c", "from evalbench.cli import main; main()", "golden"]
    suite = ["--surface", "shop"]
    place = {"cwd": folder, "check": True, "stdout": sys.stderr}
    subprocess.run([*write, "starter", "shop"], **place)
    for load in TOOLS:
        name, extension = load.__name__, "json" if load is deepeval else "jsonl"
        subprocess.run([*write, "export", f"{name}.{extension}", *suite, "--as", name], **place)
    subprocess.run([*write, "export", "cases.jsonl", *suite], **place)
    return subprocess.run([PEERS, __file__, folder], check=False).returncode


if __name__ == "__main__":
    if folders := [each for each in sys.argv[1:] if each != "--whole"]:
        sys.exit(main(Path(folders[0])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(export(made))
