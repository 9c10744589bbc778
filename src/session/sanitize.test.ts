import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stripMarkup } from './sanitize.js'

const strip = (json: string): string => Buffer.from(stripMarkup(Buffer.from(json))).toString()
/** Strips the markup of one string. */
const text = (value: string): string => JSON.parse(strip(JSON.stringify(value))) as string

describe('tags', () => {
  test.each([
    ['<b>hello</b>', 'hello'],
    ['a<br>b<br/>c', 'abc'],
    ['<img src=x onerror=alert(1)>', ''],
    ['<a href="javascript:x()">click</a>', 'click'],
    ['<p class="a>b">x</p>', 'x'],
    ['before<!-- comment -->after', 'beforeafter'],
    ['<svg/onload=alert(1)>', ''],
    ['<SCRIPT>x()</SCRIPT>', ''],
    ['a<script>x()</script>b', 'ab'],
    ['a<style>b{}</style>c', 'ac'],
    ['a<iframe srcdoc="<b>x</b>"></iframe>b', 'ab'],
  ])('%s', (markup, expected) => {
    expect(text(markup)).toBe(expected)
  })

  test.each([
    '<scr<script>ipt>alert(1)</scr</script>ipt>',
    '<<b>b>x',
    '<<<b>b>b>x',
    '<scr<b></b>ipt>x</script>',
    '<textarea><img src=x onerror=y></textarea>',
    '<title><script>x()</script></title>',
    '<![CDATA[<b>x</b>]]>',
    '<plaintext><b>x',
    '<!--><img src=x>-->',
  ])('nested or hidden: %s', (markup) => {
    expect(text(markup)).not.toMatch(/<[a-z!/?]/i)
  })

  test('are all removed, whatever the text', () => {
    const piece = fc.constantFrom(
      '<',
      '>',
      '<b>',
      '</b>',
      '<script>',
      '</script',
      '>',
      '<!--',
      '-->',
      'a',
      '"',
      "'",
      ' ',
      '/',
      '&lt;',
      '<![CDATA[',
      ']]>',
      '<title>',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        expect(text(pieces.join(''))).not.toMatch(/<[a-z/!?][^>]*>/i)
      }),
      { numRuns: 500 },
    )
  })

  test('nested thousands of levels deep are removed quickly', () => {
    const depth = 10_000
    const startedMs = performance.now()
    expect(text('<'.repeat(depth) + 'b>'.repeat(depth))).not.toContain('<')
    expect(performance.now() - startedMs).toBeLessThan(1_000)
  })
})

describe('text without markup', () => {
  test.each(['1 < 2', 'a <- b', '<3', 'x > y', '&lt;b&gt;', '&amp;lt;', '&#60;b>', 'a & b'])(
    '%s stays',
    (value) => {
      expect(text(value)).toBe(value)
    },
  )
})

describe('JSON', () => {
  test.each([
    ['structure', '{"a":["<b>x</b>",{"c":"<i>y</i>"}],"d":null}', '{"a":["x",{"c":"y"}],"d":null}'],
    ['keys', '{"<b>":"<b>x</b>"}', '{"<b>":"x"}'],
    ['keys before a spaced colon', '{"<b>" : "<b>x</b>"}', '{"<b>" : "x"}'],
    [
      'numbers as they were written',
      '{"n":[1.0,1e400,12345678901234567890],"t":"<b>x"}',
      '{"n":[1.0,1e400,12345678901234567890],"t":"x"}',
    ],
    ['duplicate keys', '{"a":"<b>1","a":"<b>2"}', '{"a":"1","a":"2"}'],
    ['white space', '[ "<b>x</b>" , 1 ]', '[ "x" , 1 ]'],
    ['other texts as they were written', String.raw`["\u00e4\/","<b>x"]`, String.raw`["\u00e4\/","x"]`],
    ['quotes and backslashes', String.raw`["a\"<b>\\","\\"]`, String.raw`["a\"\\","\\"]`],
    ['emoji and lone surrogates', String.raw`"<b>😀\ud800"`, String.raw`"😀\ud800"`],
  ])('keeps %s', (_what, json, expected) => {
    expect(strip(json)).toBe(expected)
  })

  test.each([
    [String.raw`"\u003cb\u003ex"`],
    [String.raw`"\u003Cscript\u003Ey()\u003C/script\u003Ex"`],
    [String.raw`{"a":"\u003cb>x"}`],
  ])('sees through escapes: %s', (json) => {
    expect(strip(json)).toMatch(/"x"/)
    expect(strip(json)).not.toMatch(/<|003c/i)
  })

  test('without a tag stays the same, byte for byte', () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: 'binary' }), (json) => {
        fc.pre(!JSON.stringify(JSON.parse(json)).includes('<'))
        expect(strip(json)).toBe(json)
      }),
    )
  })

  test('without `<` is returned as the same object', () => {
    const data = Buffer.from(String.raw`{"a":"\n > 1.0"}`)
    expect(stripMarkup(data)).toBe(data)
  })

  test('keeps its structure, whatever the strings', () => {
    const shape = (value: unknown): unknown =>
      JSON.parse(JSON.stringify(value, (_key, part: unknown) => (typeof part === 'string' ? '' : part)))
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.string(), (json, extra) => {
        const mixed = `[${json},${JSON.stringify(`<b>${extra}`)}]`
        expect(shape(JSON.parse(strip(mixed)))).toEqual(shape(JSON.parse(mixed)))
      }),
    )
  })
})
