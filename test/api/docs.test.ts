// The examples of docs/server-api.md are correct: its commands, run in order against the samples, print the
// output below them.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { endPrograms } from '../support/child-process.js'
import { DevProcess } from '../support/dev-process.js'

const root = new URL('../../', import.meta.url)
const page = await readFile(new URL('docs/server-api.md', root), 'utf8')

interface Example {
  readonly command: string
  readonly answer: unknown
}

const examples = [...page.matchAll(/```sh\n(curl [^]*?)\n```\n\n```json\n([^]*?)\n```/g)].map(
  ([, command = '', answer = '']): Example => ({ command, answer: JSON.parse(answer) as unknown }),
)
const key = /export KEY=(\S+)/.exec(page)?.[1] ?? ''

let dev: DevProcess

beforeAll(async () => {
  dev = await DevProcess.start()
})
afterAll(() => endPrograms())

async function answerTo(command: string): Promise<unknown> {
  const { stdout } = await promisify(execFile)(
    'sh',
    ['-c', command.replace('localhost:8000', `127.0.0.1:${dev.port}`)],
    {
      env: { ...process.env, KEY: key, no_proxy: '*' },
    },
  )
  return JSON.parse(stdout) as unknown
}

/** Reduces a value to what is the same on each run. Epochs, times and the text of messages differ. */
function outline(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => outline(item))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([member, item]) => [member, outline(item, member)]))
  if (name === 'message') return String(value).split(':', 1)[0]
  return name === 'epoch' || name === 'time' ? typeof value : value
}

test('every command of the page has its output below it', () => {
  expect(examples.length).toBe(page.match(/^curl /gm)?.length)
  expect(examples.length).toBeGreaterThan(8)
})

test.each(examples)('$command', async ({ answer, command }) => {
  expect(outline(await answerTo(command))).toEqual(outline(answer))
})

test('the command that `parley dev` prints for backends works unchanged', async () => {
  const [, command = ''] = / backend +(curl .*)/.exec(dev.banner) ?? []
  expect(await answerTo(command)).toMatchObject({ result: { durability: 'accepted' } })
})
