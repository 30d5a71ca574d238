"""The window's texts, in the user's language where there is a translation; in English otherwise.

A text is a literal in `tr`, with names in braces for what is put in: `tr("Saved in {folder}.").format(folder=folder)`.
Tables that are made when a module is imported hold texts in `mark`, and what shows them translates them with `tr`.
"""

from __future__ import annotations

import gettext

import resources

_DOMAIN = "regard"
_translations: gettext.NullTranslations = gettext.NullTranslations()


def set_language(*languages: str) -> None:
    """Use the first of these languages (`de_CH`, `de`) that there is a translation for."""
    global _translations
    _translations = gettext.translation(_DOMAIN, resources.path("translations"), languages=languages, fallback=True)


def tr(text: str) -> str:
    """A text in the user's language."""
    return _translations.gettext(text)


def tr_count(one: str, many: str, count: int) -> str:
    """The text for one or for many, `{count}` still to be put in."""
    return _translations.ngettext(one, many, count)


def mark(text: str) -> str:
    """A text that is translated where it is shown."""
    return text
