// `parley dev` as a process: its messages for wrong input, and how it stops.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'

const root = fileURLToPath(new URL('../../', import.meta.url))

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, ['dist/cli/main.js', 'dev', ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

/** Runs until the process ends by itself. */
async function runToEnd(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = start(args, env)
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const [code] = await once(child, 'close')
  return { code: Number(code), stderr }
}

/** Starts `parley dev`, and resolves to its process and the URL at which a guest connects. */
async function startReady(...args: string[]) {
  const child = start(['--port', '0', '--ops-port', '0', ...args])
  let output = ''
  for await (const text of child.stdout.setEncoding('utf8')) {
    output += String(text)
    if (output.includes('WARNING')) break
  }
  return { child, url: `ws://127.0.0.1:${/localhost:(\d+)/.exec(output)?.[1]}/demo/globex/ws` }
}

async function guestAt(url: string) {
  const socket = new WebSocket(url)
  const advised = new Promise((resolve) => {
    socket.on('message', (data: Buffer) => data.includes('"reconnect"') && resolve(true))
  })
  await once(socket, 'message')
  return { socket, advised }
}

describe('wrong input is answered with a message, not with a stack', () => {
  test.each<[string[], RegExp]>([
    [['--port', '99999'], /--port .* from 0 .* to 65535/],
    [['--port', '1.5'], /--port .* whole number/],
    [['--ops-port', 'http'], /--ops-port .* whole number/],
    [['--log-level', 'loud'], /--log-level .* trace, debug, info/],
    [['--drain-window', '3601'], /--drain-window .* from 0 to 3600/],
    [['--nope'], /unknown option '--nope'/],
    [['extra'], /"extra" does not belong to an option/],
  ])('%j', async (args, sentence) => {
    const { code, stderr } = await runToEnd(args)
    expect(stderr).toMatch(sentence)
    expect(stderr).not.toMatch(/^ +at /m)
    expect(code).toBe(2)
  })

  test.each<[string, string[], Record<string, string>, string]>([
    ['npm start --port 9000', ['9000'], { npm_config_port: 'true' }, '-- --port 9000'],
    ['npm start --port=9000', [], { npm_config_port: '9000' }, '-- --port 9000'],
    [
      'npm start --tenants x',
      ['--tenants', 'manifests/samples', 'x'],
      { npm_config_tenants: 'true' },
      '-- --tenants x',
    ],
    ['npm start --log-level info', ['info'], { npm_config_log_level: 'true' }, '-- --log-level info'],
  ])('%s without the two dashes: the message has the right command', async (_command, args, env, hint) => {
    const { code, stderr } = await runToEnd(args, env)
    expect(stderr).toContain(hint)
    expect(code).toBe(2)
  })

  test('a port that is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    onTestFinished(() => void other.close())
    const { port } = other.address() as AddressInfo
    const { code, stderr } = await runToEnd(['--port', String(port)])
    expect(stderr).toContain(`Port ${port} of 127.0.0.1 (clients) is in use by another program`)
    expect(code).toBe(78)
  })

  test.each<[string[], string]>([
    [['--port', '0', '--host', 'nobody.invalid'], '(--host)'],
    [['--tenants', '/no/such/folder'], 'tenants folder "/no/such/folder"'],
  ])('%j', async (args, sentence) => {
    const { code, stderr } = await runToEnd(args)
    expect(stderr).toContain(sentence)
    expect(stderr).not.toMatch(/^ +at /m)
    expect(code).toBe(78)
  })
})

test('a manifest that becomes invalid while it runs is reported, and so is its correction', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'parley-dev-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(root, 'manifests/samples'), folder, { recursive: true })
  const { child } = await startReady('--tenants', folder)
  const stderr = child.stderr.setEncoding('utf8')
  const file = join(folder, 'acme.yaml')
  const good = readFileSync(file, 'utf8')
  writeFileSync(file, good.replace('planRef:', 'planReff:'))
  expect(String(await once(stderr, 'data'))).toMatch(/^parley: acme\.yaml:\d+: spec\.planRef/)
  writeFileSync(file, good)
  let output = ''
  while (!output.includes('valid again')) output += String(await once(stderr, 'data'))
  expect(output).toContain('parley: all manifests are valid again\n')
})

describe('a stop', () => {
  test('SIGTERM advises clients, closes them with 3001, and the process exits with 0', async () => {
    const { child, url } = await startReady()
    const { advised, socket } = await guestAt(url)
    const [closed, exited] = [once(socket, 'close'), once(child, 'exit')]
    child.kill('SIGTERM')
    expect(await advised).toBe(true)
    expect((await closed)[0]).toBe(3001)
    expect(await exited).toEqual([0, null])
  })

  test('a second Ctrl-C ends the process without waiting for the drain', async () => {
    const { child, url } = await startReady('--drain-window', '3600')
    await guestAt(url)
    // The first client is closed at once, and the second one after half an hour.
    const { advised } = await guestAt(url)
    child.kill('SIGINT')
    await advised
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([130, null])
  })
})
