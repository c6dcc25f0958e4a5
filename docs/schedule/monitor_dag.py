"""An Airflow DAG: every morning sessions are judged off the user's path, then reported on."""

from datetime import UTC, datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

SURFACES = ["support"]
RUN = "evalbench run 09_monitor --workspace /srv/evalbench/workspace -p surface"

with DAG(
    "monitor", schedule="0 6 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False
) as dag:
    for surface in SURFACES:
        BashOperator(
            task_id=f"monitor_{surface}",
            bash_command=f"{RUN} {surface} -p judge true -p record true",
        )
