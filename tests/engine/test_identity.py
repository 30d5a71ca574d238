from engine.identity import Identity


def test_the_same_words_are_the_same_and_cannot_be_read() -> None:
    one = Identity.of("4711", "Doe^Jane^^", "1.2.3")

    assert one == Identity.of(" 4711 ", "DOE JANE", "1.2.3")
    assert not any(word in repr(one) for word in ("4711", "Doe", "doe", "1.2.3"))


def test_other_words_differ_and_none_is_unknown() -> None:
    one, other = Identity.of("4711", "Doe^Jane", ""), Identity.of("4712", "Doe^June", "1.2")

    assert one.patient_id != other.patient_id
    assert one.patient_name != other.patient_name
    assert one.frame_of_reference == ""
    assert Identity.of("", "^^", "") == Identity()


def test_one_name_in_two_encodings_is_one_name() -> None:
    latin = b"M\xfcller^Eva".decode("utf-8", "surrogateescape")

    assert Identity.of("", latin, "") == Identity.of("", "Müller^Eva", "") != Identity.of("", "Keller^Eva", "")
