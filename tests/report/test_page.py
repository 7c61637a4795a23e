"""Rows as an HTML page: every cell as text, whatever it holds."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from madrun.report.page import html_text

CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


class _Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag == "td"
        self.cells += [""] if self.inside else []

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


@given(st.lists(st.fixed_dictionaries({"model": CELL, "status": CELL}), min_size=1, max_size=3), CELL)
def test_each_cell_is_text_and_never_markup(rows, title):
    page = _Cells()
    page.feed(html_text(rows, title))
    page.close()
    columns = list(rows[0])
    assert page.cells == [row[name] for row in rows for name in columns]
    assert "script" not in page.tags


def test_a_column_that_a_row_lacks_is_an_empty_cell():
    text = html_text([{"model": "a", "tp": "8"}, {"model": "b", "status": "FAILURE"}], "perf.csv")
    assert "<th>tp</th><th>status</th>" in text
    assert '<tr class="FAILURE"><td>b</td><td></td><td>FAILURE</td></tr>' in text
