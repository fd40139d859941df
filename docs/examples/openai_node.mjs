// Ask with OpenAI's client for Node: the whole answer, a stream, and an object.
//
// npm install openai

import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8080/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "none",
});

const answer = await client.chat.completions.create({
  model: "demo",
  messages: [{ role: "user", content: "What is the capital of France?" }],
  temperature: 0,
});
console.log(answer.choices[0].message.content);

const stream = await client.chat.completions.create({
  model: "demo",
  messages: [{ role: "user", content: "Count from 1 to 10." }],
  temperature: 0,
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
console.log();

const object = await client.chat.completions.create({
  model: "demo",
  messages: [{ role: "user", content: "Give me a JSON object with name Bob and age 7" }],
  response_format: {
    type: "json_schema",
    json_schema: {
      name: "person",
      strict: true,
      schema: {
        type: "object",
        properties: { name: { type: "string" }, age: { type: "integer" } },
        required: ["name", "age"],
        additionalProperties: false,
      },
    },
  },
  temperature: 0,
});
const person = JSON.parse(object.choices[0].message.content);
console.log(`${person.name} is ${person.age}`);
