"""Whether the harness judges as README.md says; run.sh asks before each run."""

import tempfile
import unittest
from pathlib import Path

import conformance
import exclusions
import go
import reported
from support import Ended, Result

RESULTS = [
    Result("as listed", "failed", "x"),
    Result("healed", "passed"),
    Result("unsteady", "passed"),
    Result("broken", "failed", "boom"),
    Result("left out", "skipped", "why not"),
    Result("good", "passed"),
]
LISTED = "# heading\nas listed | a reason\nhealed | old\n~unsteady | on Kafka, too\ngone | older\n"


class Exclusions(unittest.TestCase):
    def setUp(self):
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "exclusions.txt"
        self.path.write_text(LISTED)

    def test_each_difference_from_the_list_is_told(self):
        complaints = exclusions.compare(exclusions.read(self.path), RESULTS)
        told = {complaint.split(": ")[0] + ": " + complaint.split(": ")[1] for complaint in complaints}
        expected = {
            "passes, and is excluded: healed",
            "failed, and not excluded: broken",
            "skipped, and not excluded: left out",
            "excluded, and there is no such test: gone",
        }
        self.assertEqual(told, expected)

    def test_what_is_recorded_wants_a_reason(self):
        exclusions.record(self.path, exclusions.read(self.path), RESULTS)
        self.assertEqual(
            self.path.read_text(),
            "# heading\nas listed | a reason\nbroken | ? failed: boom\nleft out | ? skipped: why not\n"
            "~unsteady | on Kafka, too\n",
        )
        complaints = exclusions.compare(exclusions.read(self.path), RESULTS)
        self.assertEqual(len(complaints), 2, complaints)
        self.assertTrue(all("without a reason" in complaint for complaint in complaints), complaints)

    def test_an_entry_without_a_reason_is_refused(self):
        self.path.write_text("test |\n")
        self.assertRaises(SystemExit, exclusions.read, self.path)


class Reading(unittest.TestCase):
    def test_a_test_that_is_not_reported_has_failed(self):
        results = reported.parse(["one", "two", "three"], Ended(1, "ok one\nfailed two: why\npanic: no\n"))
        self.assertEqual([result.outcome for result in results], ["passed", "failed", "failed"])
        self.assertIn("panic: no", results[2].message)

    def test_a_test_of_go_without_an_end_ran_too_long(self):
        events = ['{"Action":"run","Test":"A"}', '{"Action":"pass","Test":"A"}', '{"Action":"run","Test":"B"}']
        outcomes = {result.name: result.outcome for result in go.parse("\n".join([*events, "noise"]))}
        self.assertEqual(outcomes, {"A": "passed", "B": "ran too long"})


class Conformance(unittest.TestCase):
    def test_a_run_replaces_its_own_results_alone(self):
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "conformance.md"
        path.write_text("# Conformance\n\nbefore\n")
        one = conformance.Row("One", path, ["one", "two"], "one")
        two = conformance.Row("Two", path, ["one", "two"], "two")
        failed, passed = Result("a", "failed"), Result("b", "passed")
        two.write_embedded([failed, passed], {"a": ("why", False)})
        one.write_kafka([failed, passed])
        one.write_embedded([passed], {})
        text = path.read_text()
        self.assertIn("| One | 1 | 1 | 0 | 1 of 2 |", text)
        self.assertIn("| Two | 2 | 1 | 1 | – |", text)
        self.assertIn("- why: `a`\n", text)
        two.write_embedded([passed], {})
        self.assertNotIn("why", path.read_text())
        self.assertIn("before", path.read_text())


if __name__ == "__main__":
    unittest.main()
