"""The window's texts, in the user's language where there is a translation; in English otherwise.

A text is a literal in `tr`, with names in braces for what is put in: `tr("Saved in {folder}.").format(folder=folder)`.
Tables that are made when a module is imported hold texts in `mark`, and what shows them translates them with `tr`.
Rows of the large tables (`Row`, `TourStep`, `Overlay`, `Comparison`) need no `mark`. `make texts` collects all of them.
"""

from __future__ import annotations

import gettext
from itertools import takewhile

import resources

DOMAIN = "regard"
FOLDER = "translations"
_translations: gettext.NullTranslations = gettext.NullTranslations()


def set_language(*languages: str) -> str:
    """Use the first of these languages (`de_CH`, `de`) that there is a translation for, and return it.

    English needs none: what is wanted less than English is not looked for. The answer is empty where it stays English.
    """
    global _translations
    _translations = gettext.NullTranslations()
    for language in takewhile(lambda name: name.split("_")[0] not in ("en", "C"), languages):
        path = gettext.find(DOMAIN, str(resources.path(FOLDER)), [language])
        if path is not None:
            with open(path, "rb") as file:
                _translations = gettext.GNUTranslations(file)
            return language
    return ""


def tr(text: str) -> str:
    """A text in the user's language."""
    return _translations.gettext(text)


def tr_count(one: str, many: str, count: int) -> str:
    """The text for one or for many, `{count}` still to be put in; a count of numpy counts, too."""
    return _translations.ngettext(one, many, int(count))


def mark(text: str) -> str:
    """A text that is translated where it is shown."""
    return text
