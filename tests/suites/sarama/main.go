// Drives a broker with sarama at V2_8_0_0; the argument is the broker's address.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const patience = 30 * time.Second

var addresses []string

func main() {
	addresses = os.Args[1:2]
	admin, err := sarama.NewClusterAdmin(addresses, config())
	if err != nil {
		fmt.Println("failed creates topics:", err)
		os.Exit(1)
	}
	defer admin.Close()
	test("creates topics", func() error {
		for _, name := range []string{"plain", "codecs", "grouped", "doomed", "transactions"} {
			if err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		err := admin.CreateTopic("plain", &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false)
		if !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return fmt.Errorf("the second creation: %v", err)
		}
		return nil
	})
	test("creates a topic with configs", func() error {
		compact, forever := "compact", "-1"
		entries := map[string]*string{"cleanup.policy": &compact, "retention.ms": &forever}
		detail := sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: entries}
		return admin.CreateTopic("configured", &detail, false)
	})
	test("produces with each codec", producesWithEachCodec)
	test("produces idempotently", func() error {
		c := config()
		c.Producer.Idempotent = true
		c.Net.MaxOpenRequests = 1
		return produce(c, "plain", 100)
	})
	test("consumes partitions", func() error { return consumePartitions("plain", 100) })
	test("consumes in a group", func() error {
		if err := produce(config(), "grouped", 100); err != nil {
			return err
		}
		return consumeInGroup("members", "grouped", "", 100)
	})
	test("balances two members", balancesTwoMembers)
	test("keeps a static member's place", func() error {
		return consumeInGroup("static", "grouped", "instance-1", 100)
	})
	administers(admin)
	test("produces in transactions", func() error {
		c := config()
		c.Producer.Idempotent = true
		c.Producer.Transaction.ID = "sarama"
		c.Net.MaxOpenRequests = 1
		producer, err := sarama.NewSyncProducer(addresses, c)
		if err != nil {
			return err
		}
		defer producer.Close()
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		if _, _, err := producer.SendMessage(message("transactions", 0)); err != nil {
			return err
		}
		return producer.CommitTxn()
	})
}

func administers(admin sarama.ClusterAdmin) {
	test("lists and describes topics", func() error {
		topics, err := admin.ListTopics()
		if err != nil {
			return err
		}
		if topics["plain"].NumPartitions != 4 {
			return fmt.Errorf("listed %v", topics)
		}
		described, err := admin.DescribeTopics([]string{"plain"})
		if err != nil {
			return err
		}
		return wanted(len(described[0].Partitions), 4)
	})
	test("adds partitions", func() error {
		if err := admin.CreatePartitions("codecs", 6, nil, false); err != nil {
			return err
		}
		described, err := admin.DescribeTopics([]string{"codecs"})
		if err != nil {
			return err
		}
		return wanted(len(described[0].Partitions), 6)
	})
	test("describes the cluster", func() error {
		brokers, controller, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		if len(brokers) != 1 || brokers[0].ID() != controller {
			return fmt.Errorf("%d brokers, controller %d", len(brokers), controller)
		}
		return nil
	})
	topic := sarama.ConfigResource{Type: sarama.TopicResource, Name: "plain"}
	test("describes configs", func() error {
		entries, err := admin.DescribeConfig(topic)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.Name == "retention.ms" {
				return nil
			}
		}
		return fmt.Errorf("no retention.ms in %v", entries)
	})
	hour, day := "3600000", "86400000"
	test("alters configs", func() error {
		entries := map[string]*string{"retention.ms": &hour}
		if err := admin.AlterConfig(sarama.TopicResource, "plain", entries, false); err != nil {
			return err
		}
		return has(admin, topic, hour)
	})
	test("alters configs incrementally", func() error {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{
			"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &day},
		}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, "plain", entries, false); err != nil {
			return err
		}
		return has(admin, topic, day)
	})
	test("finds offsets by time", func() error {
		client, err := sarama.NewClient(addresses, config())
		if err != nil {
			return err
		}
		defer client.Close()
		for time, expected := range map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: 25, 1000: 0} {
			offset, err := client.GetOffset("plain", 0, time)
			if err != nil {
				return err
			}
			if offset != expected {
				return fmt.Errorf("%d at %d", offset, time)
			}
		}
		return nil
	})
	test("lists and describes groups", func() error {
		groups, err := admin.ListConsumerGroups()
		if err != nil {
			return err
		}
		if _, found := groups["members"]; !found {
			return fmt.Errorf("listed %v", groups)
		}
		described, err := admin.DescribeConsumerGroups([]string{"members"})
		if err != nil {
			return err
		}
		if described[0].State != "Empty" {
			return fmt.Errorf("is %s", described[0].State)
		}
		return nil
	})
	test("lists a group's offsets", func() error {
		offsets, err := admin.ListConsumerGroupOffsets("members", map[string][]int32{"grouped": {0, 1, 2, 3}})
		if err != nil {
			return err
		}
		sum := 0
		for _, block := range offsets.Blocks["grouped"] {
			sum += int(block.Offset)
		}
		return wanted(sum, 100)
	})
	test("deletes a group's offsets", func() error { return admin.DeleteConsumerGroupOffset("members", "grouped", 0) })
	test("deletes records", func() error {
		if err := admin.DeleteRecords("plain", map[int32]int64{0: 5}); err != nil {
			return err
		}
		client, err := sarama.NewClient(addresses, config())
		if err != nil {
			return err
		}
		defer client.Close()
		offset, err := client.GetOffset("plain", 0, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		return wanted(int(offset), 5)
	})
	test("describes log dirs", func() error {
		brokers, _, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		dirs, err := admin.DescribeLogDirs([]int32{brokers[0].ID()})
		if err != nil {
			return err
		}
		if len(dirs[brokers[0].ID()]) == 0 {
			return errors.New("no folder")
		}
		return nil
	})
	test("lists partition reassignments", func() error {
		moves, err := admin.ListPartitionReassignments("plain", []int32{0})
		if err != nil {
			return err
		}
		return wanted(len(moves["plain"]), 0)
	})
	test("elects leaders", func() error {
		results, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{"plain": {0}})
		if err != nil {
			return err
		}
		if result := results["plain"][0]; result != nil && result.ErrorCode != sarama.ErrElectionNotNeeded {
			return result.ErrorCode
		}
		return nil
	})
	test("describes client quotas", func() error {
		_, err := admin.DescribeClientQuotas(nil, false)
		return err
	})
	test("describes users", func() error {
		_, err := admin.DescribeUserScramCredentials(nil)
		return err
	})
	test("deletes groups", func() error { return admin.DeleteConsumerGroup("members") })
	test("deletes topics", func() error { return admin.DeleteTopic("doomed") })
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	// Versions as of V2_8_0_0, whatever the broker says that it serves.
	c.ApiVersionsRequest = false
	c.ClientID = "suite"
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Metadata.Retry.Max = 1
	c.Admin.Timeout = 10 * time.Second
	c.Net.ReadTimeout = 10 * time.Second
	return c
}

func test(name string, body func() error) {
	if err := body(); err != nil {
		fmt.Printf("failed %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println("ok", name)
}

func wanted(found, expected int) error {
	if found != expected {
		return fmt.Errorf("%d instead of %d", found, expected)
	}
	return nil
}

func has(admin sarama.ClusterAdmin, topic sarama.ConfigResource, retention string) error {
	topic.ConfigNames = []string{"retention.ms"}
	entries, err := admin.DescribeConfig(topic)
	if err != nil {
		return err
	}
	if len(entries) != 1 || entries[0].Value != retention {
		return fmt.Errorf("retention.ms in %v", entries)
	}
	return nil
}

func message(topic string, number int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic:     topic,
		Partition: int32(number % 4),
		Key:       sarama.StringEncoder(fmt.Sprint("k", number)),
		Value:     sarama.StringEncoder(fmt.Sprint("v", number)),
		Headers:   []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("1")}},
	}
}

func produce(c *sarama.Config, topic string, count int) error {
	c.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(addresses, c)
	if err != nil {
		return err
	}
	defer producer.Close()
	for number := range count {
		if _, _, err := producer.SendMessage(message(topic, number)); err != nil {
			return err
		}
	}
	return nil
}

func producesWithEachCodec() error {
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4,
		sarama.CompressionZSTD,
	}
	for _, codec := range codecs {
		c := config()
		c.Producer.Compression = codec
		if err := produce(c, "codecs", 4); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return consumePartitions("codecs", 20)
}

func consumePartitions(topic string, count int) error {
	consumer, err := sarama.NewConsumer(addresses, config())
	if err != nil {
		return err
	}
	defer consumer.Close()
	partitions, err := consumer.Partitions(topic)
	if err != nil {
		return err
	}
	all := make(chan *sarama.ConsumerMessage)
	var feeders sync.WaitGroup
	defer feeders.Wait()
	for _, partition := range partitions {
		one, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return err
		}
		end := make(chan struct{})
		defer one.Close()
		defer close(end)
		feeders.Add(1)
		go func() {
			defer feeders.Done()
			for {
				select {
				case found := <-one.Messages():
					if found == nil {
						return
					}
					select {
					case all <- found:
					case <-end:
						return
					}
				case <-end:
					return
				}
			}
		}()
	}
	deadline := time.After(patience)
	for seen := 0; seen < count; seen++ {
		select {
		case found := <-all:
			if string(found.Headers[0].Key) != "h" {
				return fmt.Errorf("headers %v", found.Headers)
			}
		case <-deadline:
			return fmt.Errorf("%d of %d messages", seen, count)
		}
	}
	return nil
}

type handler struct {
	claimed  chan int
	messages chan *sarama.ConsumerMessage
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	sum := 0
	for _, partitions := range session.Claims() {
		sum += len(partitions)
	}
	select {
	case h.claimed <- sum:
	default:
	}
	return nil
}

func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for found := range claim.Messages() {
		session.MarkMessage(found, "")
		select {
		case h.messages <- found:
		case <-session.Context().Done():
			return nil
		}
	}
	return nil
}

// join makes a member of a group, which consumes until the function that is returned has been called.
func join(group, topic, instance string) (handler, func() error, error) {
	c := config()
	c.Consumer.Group.InstanceId = instance
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	h := handler{make(chan int, 16), make(chan *sarama.ConsumerMessage)}
	member, err := sarama.NewConsumerGroup(addresses, group, c)
	if err != nil {
		return h, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		var last error
		for ctx.Err() == nil {
			if err := member.Consume(ctx, []string{topic}, h); err != nil {
				last = err
				break
			}
		}
		done <- last
	}()
	return h, func() error {
		cancel()
		err := <-done
		return errors.Join(err, member.Close())
	}, nil
}

func consumeInGroup(group, topic, instance string, count int) error {
	h, stop, err := join(group, topic, instance)
	if err != nil {
		return err
	}
	deadline := time.After(patience)
	for seen := 0; seen < count; seen++ {
		select {
		case <-h.messages:
		case <-deadline:
			return errors.Join(fmt.Errorf("%d of %d messages", seen, count), stop())
		}
	}
	return stop()
}

func balancesTwoMembers() error {
	one, stopOne, err := join("balanced", "grouped", "")
	if err != nil {
		return err
	}
	defer stopOne()
	go drain(one)
	two, stopTwo, err := join("balanced", "grouped", "")
	if err != nil {
		return err
	}
	defer stopTwo()
	go drain(two)
	deadline := time.After(patience)
	ours, theirs := 0, 0
	for ours != 2 || theirs != 2 {
		select {
		case ours = <-one.claimed:
		case theirs = <-two.claimed:
		case <-deadline:
			return fmt.Errorf("%d and %d partitions", ours, theirs)
		}
	}
	return nil
}

func drain(h handler) {
	for range h.messages {
	}
}
