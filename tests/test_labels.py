from sweep.labels import short_names


def test_settings_are_named_without_their_group():
    assert short_names([{"arch.sr": 0.25, "seed": 1}, {"arch.bypass": "none"}]) == ["sr=0.25 seed=1", "bypass=none"]
    assert short_names([{"compress.conv_bits": 4, "sr": 1}], equals=" ", comma=", ") == ["conv_bits 4, sr 1"]
    assert short_names([]) == []
    assert short_names([{}]) == [""]


def test_settings_that_would_share_a_name_keep_their_groups():
    made = [{"train.lr": 1, "seed": 0}, {"compress.lr": 2, "train.epochs": 3}]
    assert short_names(made) == ["train.lr=1 seed=0", "compress.lr=2 epochs=3"]
