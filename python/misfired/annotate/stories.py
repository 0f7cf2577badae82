"""Questions of our own: practice, and attention items that look like every other question.

Each story is followed by three questions. The first is answered by yes, the second by no, the third
by neither: the story does not say.
"""

CANNOT_TELL = "cannot tell"
"""The answer that every question allows beside those of its suite."""

STORY_ANSWERS = ("yes", "no", CANNOT_TELL)

STORIES = (
    (
        "A gardener planted tulips on Monday and watered them on Tuesday.",
        ("Did the gardener plant tulips?", "Did the gardener water them on Monday?", "Were the tulips red?"),
    ),
    (
        "The last bus left the library at nine. Two people were on it.",
        ("Did the last bus leave at nine?", "Were five people on the bus?", "Was the driver tired?"),
    ),
    (
        "A baker made twelve loaves this morning. By noon, all of them were sold.",
        ("Did the baker make twelve loaves?", "Were some loaves left at noon?", "Did the loaves have seeds?"),
    ),
    (
        "The museum opens at ten and closes at six. On Mondays it stays closed.",
        ("Does the museum close at six?", "Is the museum open on Mondays?", "Does the museum have a shop?"),
    ),
    (
        "A cyclist rode from the harbour to the mill. Then it began to rain.",
        ("Did the cyclist ride to the mill?", "Did it rain before the ride began?", "Was the bicycle new?"),
    ),
    (
        "The choir sang three songs. The audience asked for one more, and the choir sang it.",
        ("Did the audience ask for one more song?", "Did the choir sing only three songs?", "Was the hall full?"),
    ),
    (
        "A clockmaker repaired a watch on Friday. The owner collected it on Saturday.",
        ("Did the owner collect the watch?", "Was the watch repaired on Saturday?", "Was the watch made of gold?"),
    ),
    (
        "The lake froze in January. By April, boats were on it again.",
        ("Did the lake freeze in January?", "Was the lake frozen all year?", "Were the boats white?"),
    ),
    (
        "A teacher put a map on the wall. The map shows rivers and no roads.",
        ("Does the map show rivers?", "Does the map show roads?", "Is the map older than the school?"),
    ),
    (
        "The train to the coast has six carriages. Today one was taken off for repair.",
        ("Was a carriage taken off today?", "Does today's train have six carriages?", "Is the train late today?"),
    ),
    (
        "A cat slept on the warm roof. In the evening it climbed down.",
        ("Did the cat sleep on the roof?", "Did the cat stay on the roof all night?", "Does the cat have a bell?"),
    ),
    (
        "A farmer sold eggs at the market. Cheese was sold by somebody else.",
        ("Did the farmer sell eggs?", "Did the farmer sell the cheese?", "Did the farmer come by car?"),
    ),
)  # fmt: skip

PRACTICE = (
    (
        "Two neighbours met at the well. The potter had filled a bucket; the weaver had not.",
        "Had the potter filled a bucket?",
        "yes",
        "the story says that the potter had filled a bucket.",
    ),
    (
        "A painter and a carpenter took the same train. The carpenter had lost a ticket and bought "
        "another. The painter had a ticket.",
        "Had the painter lost a ticket?",
        "no",
        "the story says that the carpenter had lost a ticket, and that the painter had one.",
    ),
)
"""Story, question, right answer, and why."""
