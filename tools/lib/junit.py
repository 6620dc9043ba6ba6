"""Prints junit_passed=N and junit_failed=N of a JUnit file, for a shell's eval. A missing or empty file is one failure."""
import sys
import xml.etree.ElementTree

passed = failed = 0
try:
    for case in xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"FAILED {case.get('classname')}.{case.get('name')}", file=sys.stderr)
        elif case.find("skipped") is None:
            passed += 1
except (OSError, xml.etree.ElementTree.ParseError) as error:
    print(f"junit: {error}", file=sys.stderr)
if passed + failed == 0:
    failed = 1
print(f"junit_passed={passed} junit_failed={failed}")
