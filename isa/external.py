"""External memory: the rows and parameters of a model in the order in which a position takes them.

It is addressed in link words. A model lies in it as pieces: one for each token of the embedding,
the body, the head. A piece is a sequence of parts, and a part is a header word and the words that
go to one of the two rings. For every position the device plays the piece of the position's token,
then the body, then the head where it runs: what a host would STREAM.

A part of rows stores each core's row in `row_words` words: what lies behind the last output of a
narrow tile is left out. The rows of a token's piece are those of core 0, the only ones that fire.
"""

from isa.record import Field, Record

PART = Record(
    "part",
    "The word before the rows or parameters of a part.",
    (
        Field("length", 24, "words that follow, at least 1"),
        Field("row_words", 5, "words of a core's row, less one; lanes beyond keep their weights"),
        Field("parameter", 1, "1: entries of the parameter ring; 0: of the row ring"),
        Field("one_core", 1, "rows of core 0 only; those of other cores keep their weights"),
        Field("last", 1, "the last part of its piece"),
    ),
)
PART_WORDS = PART.bits // 32
