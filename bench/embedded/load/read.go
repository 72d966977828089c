package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type took struct {
	Seconds float64 `json:"seconds"`
}

// batchBytes is the size of the batches that fill: the default of batch.size in Kafka's own producer.
const batchBytes = 16 << 10

// fill stores so many messages in batches, spread evenly over the partitions.
func fill(given *task) (any, error) {
	client, err := given.kafkaClient(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(20_000),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	body := given.body()
	begun := time.Now()
	var failures atomic.Int64
	for number := range given.messages {
		record := kgo.Record{Value: body, Partition: int32(number % partitions)}
		client.Produce(context.Background(), &record, func(_ *kgo.Record, err error) {
			if err != nil {
				failures.Add(1)
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		return nil, err
	}
	if failures.Load() > 0 {
		return nil, fmt.Errorf("%d messages were not stored", failures.Load())
	}
	return took{time.Since(begun).Seconds()}, nil
}

// read reads so many messages from the beginning of the topic, with the consumer's default settings.
func read(given *task) (any, error) {
	begun := time.Now()
	client, err := given.fromTheBeginning()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for seen := 0; seen < given.messages; {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, err
		}
		seen += fetched.NumRecords()
	}
	return took{time.Since(begun).Seconds()}, nil
}

func (given *task) fromTheBeginning() (*kgo.Client, error) {
	return given.kafkaClient(
		kgo.ConsumeTopics(given.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
}

type cycled struct {
	Rate float64 `json:"rate"`
}

// cycle reads the messages of the topic for so many seconds, and begins again at the end of each partition.
func cycle(given *task) (any, error) {
	server, err := newKafkaPeer(given)
	if err != nil {
		return nil, err
	}
	defer server.close()
	total, err := server.count()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), given.seconds)
	defer cancel()
	begun := time.Now()
	var seen int64
	for ctx.Err() == nil {
		once, err := readOnce(ctx, given, total)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		seen += once
	}
	return cycled{float64(seen) / time.Since(begun).Seconds()}, nil
}

func readOnce(ctx context.Context, given *task, total int64) (seen int64, err error) {
	client, err := given.fromTheBeginning()
	if err != nil {
		return 0, err
	}
	defer client.Close()
	begun := time.Now()
	for seen < total {
		if given.rate > 0 {
			// Ahead of its rate it waits; the client has little more than one answer in advance.
			time.Sleep(time.Until(begun.Add(time.Duration(float64(seen) / float64(given.rate) * 1e9))))
		}
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return seen, err
		}
		seen += int64(fetched.NumRecords())
	}
	return seen, nil
}
