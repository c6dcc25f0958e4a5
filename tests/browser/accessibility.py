"""What axe-core finds wrong with a page for those who do not see it, or not well."""

from axe_playwright_python.sync_playwright import Axe

GRAVE = ("serious", "critical")


def find_barriers(page):
    """List what is serious or critical: rule and element."""
    violations = Axe().run(page).response["violations"]
    return [
        (violation["id"], node["html"][:200])
        for violation in violations
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]
