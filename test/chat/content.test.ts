// Content is delivered as JSON text exactly as it was sent, byte for byte.
import { describe, expect, test } from 'vitest'
import { connectedAs, dataOf, gatewayFor, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { rule } from '../support/policies.js'

const contents: [what: string, json: string][] = [
  ['a number with a trailing zero', '1.0'],
  ['a number too large for a double', '1e400'],
  ['an integer beyond 2^53', '12345678901234567890'],
  ['minus zero', '-0'],
  ['duplicate keys', '{"a":1,"a":2}'],
  ['keys of object prototypes', '{"__proto__":{"x":1},"constructor":1}'],
  ['keys in their order', '{"2":0,"1":0,"b":0,"a":0}'],
  ['escapes', String.raw`"\u00e4\/\n\"\\\ud83d\ude00"`],
  ['a lone surrogate, escaped', String.raw`"\ud800"`],
  ['emoji', '"👩‍👩‍👧 ж"'],
  ['line separators that JSON allows', '"\u2028\u2029"'],
  ['null', 'null'],
  ['markup', '"<script>alert(1)</script>&amp;"'],
  ['text that looks like the end of the frame', '"}],\\"event\\":\\"ping\\""'],
]

describe('content', () => {
  test.each(contents)('%s', async (_what, json) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    await ann.settle()
    ann.send(`{"type":"room_message","room":"general","content":${json}}`)
    await ann.next('chat')
    expect(ann.texts.at(-1)).toContain(`"content":${json},`)
  })

  test('pretty-printed input', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send(' {\n\t"echo" : true,\r\n  "content" : [ 1.0 ,\n  { "a" : "b c" } ] ,\n "type" : "chat" }\n')
    await ann.next('chat')
    expect(ann.texts.at(-1)?.replaceAll(/\s+/g, '')).toContain('"content":[1.0,{"a":"bc"}],')
    expect(ann.texts.at(-1)).not.toContain('\n')
  })

  test('takes the content from the top level only', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send('{"x":{"content":1},"type":"chat","echo":true,"content":2}')
    expect(await ann.next('chat')).toMatchObject({ content: 2 })
  })

  test('history returns the same bytes', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send('{"type":"chat","room":"general","content":{"n":1.0,"n":1e400}}')
    ann.send({ type: 'history', room: 'general' })
    await ann.next('history')
    expect(ann.texts.at(-1)).toContain('"content":{"n":1.0,"n":1e400},')
  })

  test('markup is stripped where the channel rule sets it', async () => {
    const gateway = await gatewayFor({ channels: [rule('lobby', { sanitize: 'stripMarkup' })] })
    const ann = await chatAs(gateway, 'ann')
    ann.send('{"type":"chat","echo":true,"content":{"text":"<b>hi</b><script>x()</script>","n":1.0}}')
    await ann.next('chat')
    expect(ann.texts.at(-1)).toContain('"content":{"text":"hi","n":1.0},')
  })
})

describe('both endpoints', () => {
  test('a message of one endpoint reaches clients of the other', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    const bob = await connectedAs(gateway, 'bob')
    const atBob = dataOf(await subscribed(bob, 'general'))
    ann.send({ type: 'chat', room: 'general', content: { text: 'from chat' } })
    expect(await atBob.next()).toEqual({ text: 'from chat' })
    await bob.publish('general', { text: 'from the SDK' })
    expect(await ann.next('chat')).toMatchObject({
      from: 'bob',
      room: 'general',
      content: { text: 'from the SDK' },
    })
  })

  test('a direct message reaches the user at both endpoints', async () => {
    const gateway = await gatewayFor()
    const [ann, phone] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    const desk = dataOf(await subscribed(await connectedAs(gateway, 'bob'), 'dm:bob'))
    ann.send({ type: 'direct_message', target_user: 'bob', content: 'psst' })
    expect(await phone.next('direct_message')).toMatchObject({ content: 'psst' })
    expect(await desk.next()).toBe('psst')
  })

  test('a user at both endpoints joins and leaves once', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    await ann.settle()
    const sdk = await connectedAs(gateway, 'bob')
    await subscribed(sdk, 'general')
    expect(await ann.next('user_joined')).toMatchObject({ user_id: 'bob' })
    const bob = await chatAs(gateway, 'bob')
    await joined(bob, 'general')
    sdk.disconnect()
    await ann.settle()
    await bob.done({ type: 'leave_room', room: 'general' })
    expect(await ann.next('user_left')).toMatchObject({ user_id: 'bob' })
  })

  test('numbers keep their text between the endpoints', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    await ann.settle()
    await (await connectedAs(gateway, 'bob')).publish('general', [1.5, 'ж'])
    await ann.next('chat')
    expect(ann.texts.at(-1)).toContain('"content":[1.5,"ж"],')
  })
})
