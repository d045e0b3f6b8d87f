from sweep.labels import cut, file_name, short_names


def test_settings_are_named_without_their_group():
    assert short_names([{"arch.sr": 0.25, "seed": 1}, {"arch.bypass": "none"}]) == ["sr=0.25 seed=1", "bypass=none"]
    assert short_names([{"compress.conv_bits": 4, "sr": 1}], equals=" ", comma=", ") == ["conv_bits 4, sr 1"]
    assert short_names([]) == []
    assert short_names([{}]) == [""]


def test_settings_that_would_share_a_name_keep_their_groups():
    made = [{"train.lr": 1, "seed": 0}, {"compress.lr": 2, "train.epochs": 3}]
    assert short_names(made) == ["train.lr=1 seed=0", "compress.lr=2 epochs=3"]


def test_a_files_name_has_no_more_bytes_than_fit_and_tells_what_was_cut_apart():
    assert file_name(["sr", "data=a/b c", "seed=0,1"]) == "sr_data=a_b_c_seed=0,1"
    assert cut("x" * 80) == "x" * 80
    names = ["é" * 60 + end for end in ("", "a", "b")]  # a letter of two bytes must not be cut in half
    assert len({cut(name) for name in names}) == 3
    assert all(len(cut(name).encode()) <= 80 and cut(name).startswith("é" * 35 + "-") for name in names)
    assert len(cut("\udce9" * 200, most=150)) <= 150, "how Python reads bytes of another encoding"
