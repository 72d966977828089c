package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type kafkaPeer struct {
	given  *task
	client *kgo.Client
}

func newKafkaPeer(given *task) (peer, error) {
	client, err := given.kafkaClient()
	return &kafkaPeer{given, client}, err
}

// kafkaClient is a client with what all uses here have in common: no compression, every in-sync replica acknowledges,
// and what fails is tried again soon, so that the client's pauses are not in the figures.
func (given *task) kafkaClient(more ...kgo.Opt) (*kgo.Client, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(given.address),
		kgo.DefaultProduceTopic(given.topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.DisableClientMetrics(),
	}
	return kgo.NewClient(append(options, more...)...)
}

func (server *kafkaPeer) create() error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	configs := make(map[string]*string)
	for name, value := range server.given.config {
		configs[name] = &value
	}
	_, err := kadm.NewClient(server.client).CreateTopic(ctx, partitions, 1, configs, server.given.topic)
	return err
}

func (server *kafkaPeer) count() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	ends, err := kadm.NewClient(server.client).ListEndOffsets(ctx, server.given.topic)
	if err == nil {
		err = ends.Error()
	}
	var total int64
	ends.Each(func(end kadm.ListedOffset) { total += end.Offset })
	return total, err
}

func (server *kafkaPeer) close() { server.client.Close() }

// kafkaSender keeps to one partition, as connections to the other servers keep to one stream or queue.
type kafkaSender struct {
	client    *kgo.Client
	partition int32
}

func (server *kafkaPeer) open(number int) (sender, error) {
	client, err := server.given.kafkaClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return &kafkaSender{client, int32(number % partitions)}, err
}

func (connection *kafkaSender) send(body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	record := kgo.Record{Value: body, Partition: connection.partition}
	return connection.client.ProduceSync(ctx, &record).FirstErr()
}

func (connection *kafkaSender) close() { connection.client.Close() }
