// Handles the message in each line of its input, and answers with a line.
package main

import "encoding/json"
import "log"
import "os"

func main() {
	records, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for record := map[string]any{}; records.Decode(&record) == nil; clear(record) {
		answer := map[string]any{"id": record["id"], "ok": true}
		order, _ := record["value"].(map[string]any)
		if order["id"] == nil {
			answer["ok"], answer["error"] = false, "an order without an id"
		}
		log.Println("order", order["id"]) // to standard error: standard output is for answers
		answers.Encode(answer)
	}
}
