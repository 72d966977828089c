// Receives messages over HTTP, handles each, and says what became of it. The address is its argument.
package main
import ("bytes"; "encoding/json"; "fmt"; "log"; "net/http"; "os"; "time")
func post(path string, body map[string]any) (got struct{ Messages []map[string]any }) {
	text, _ := json.Marshal(body)
	answer, err := http.Post(os.Args[1]+path, "application/json", bytes.NewReader(text))
	if err != nil { log.Fatal(err) }
	defer answer.Body.Close()
	if answer.StatusCode == 503 { time.Sleep(time.Second); return post(path, body) }
	json.NewDecoder(answer.Body).Decode(&got)
	return
}

func main() {
	for {
		for _, message := range post("/recibir?max=10&wait_ms=20000", map[string]any{}).Messages {
			path, body := "/confirmar", map[string]any{"receipts": message["receipt"]}
			order, _ := message["value"].(map[string]any)
			if order["id"] == nil { path, body["error"] = "/devolver", "an order without an id" }
			fmt.Println(path, order)
			post(path, body)
		}
	}
}
