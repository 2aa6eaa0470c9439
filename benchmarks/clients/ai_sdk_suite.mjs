// The AI SDK: an object, tools in a loop, a second turn, streams; over its default (responses) and over chat completions.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateObject, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAI({ baseURL: process.env.RAGFLEET_URL, apiKey: process.env.RAGFLEET_KEY });
const name = process.env.RAGFLEET_MODEL;
const schema = z.object({ name: z.string(), large: z.boolean() });
const limits = { temperature: 0, maxOutputTokens: 200, maxRetries: 0 };

function weather(asked) {
  const execute = async ({ city }) => {
    asked.push(city);
    return "Rain.";
  };
  return tool({ description: "The weather in a city.", inputSchema: z.object({ city: z.string() }), execute });
}

// The first step must call the tool, the second answers.
const loop = {
  stopWhen: isStepCount(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
};

for (const [path, model] of [
  ["responses", provider(name)],
  ["chat", provider.chat(name)],
]) {
  test(`${path}: generateObject`, async () => {
    const { object } = await generateObject({ model, schema, prompt: "Tell me of Berlin.", ...limits });
    assert.equal(typeof object.large, "boolean");
  });

  test(`${path}: an object by Output`, async () => {
    const output = Output.object({ schema });
    const result = await generateText({ model, output, prompt: "Tell me of Berlin.", ...limits });
    assert.equal(typeof result.output.name, "string");
  });

  test(`${path}: a tool, its result, an answer, and a second turn`, async () => {
    const asked = [];
    const messages = [{ role: "user", content: "What is the weather in Berlin?" }];
    const first = await generateText({ model, messages, tools: { weather: weather(asked) }, ...loop, ...limits });
    assert.equal(asked.length, 1);
    assert.ok(first.text);
    const history = [...messages, ...first.responseMessages, { role: "user", content: "Thank you!" }];
    assert.ok((await generateText({ model, messages: history, ...limits })).text);
  });

  test(`${path}: the same in a stream`, async () => {
    const asked = [];
    const tools = { weather: weather(asked) };
    const result = streamText({ model, prompt: "What is the weather in Berlin?", tools, ...loop, ...limits });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    assert.equal(asked.length, 1);
    assert.ok(text);
  });
}
