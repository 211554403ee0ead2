from mwalimu.report.wording import escape_markdown


def test_markdown_is_escaped_for_a_cell() -> None:
    assert escape_markdown("a|b\n*c* <i> x\\|y") == r"a\|b<br>\*c\* &lt;i&gt; x\\\|y"
