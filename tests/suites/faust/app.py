"""A word count with faust: an agent that answers, a table with its changelog, and a stream that is grouped anew."""

import os

import faust

app = faust.App(
    "words",
    broker=f"kafka://{os.environ['BOOTSTRAP']}",
    datadir=os.environ["DATA"],
    store="memory://",
    topic_partitions=4,
    topic_replication_factor=1,
    stream_wait_empty=False,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=0.5,
)
lines = app.topic("lines", value_type=str, value_serializer="raw")
echoes = app.topic("echoes", value_type=str, value_serializer="raw")
counts = app.topic("counts", key_type=str, value_type=int, value_serializer="json")
words = app.topic("words", value_type=str, value_serializer="json")
table = app.Table("counted", default=int, partitions=4)


@app.agent(lines)
async def split(stream):
    async for line in stream:
        text = line.decode() if isinstance(line, bytes) else line
        await echoes.send(value=text)
        for word in text.split():
            await words.send(value=word)


@app.agent(words)
async def count(stream):
    async for word in stream.group_by(lambda word: word, name="word", partitions=4):
        table[word] += 1
        await counts.send(key=word, value=table[word])
