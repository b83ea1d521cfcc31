// Appended to each peer's script: answers calls, one JSON line each, until the input ends.
// A call is {"call": name, ...arguments}, its answer {"ok": value} or {"error": text}.

import { Console } from 'node:console'
import { createInterface } from 'node:readline'

// Libraries write to the console: keep that away from the answers.
globalThis.console = new Console(process.stderr, process.stderr)

const hex = bytes => Buffer.from(bytes).toString('hex')
const bytes = text => Buffer.from(text, 'hex')

async function serve(calls) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { call, ...args } = JSON.parse(line)
    let answer
    try {
      answer = { ok: (await calls[call](args)) ?? null }
    } catch (error) {
      answer = { error: String(error?.stack ?? error) }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
}
