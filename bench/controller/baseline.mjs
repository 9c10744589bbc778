// The baseline of the controller: one watch, and one Redis key for each change. It has no cache, no queue and
// no validation.
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { Redis } from 'ioredis'
import { bearerOf } from './kubeconfig.mjs'

const [, , kubeconfig = '', redisPort = ''] = process.argv
const { ca, token, url } = bearerOf(readFileSync(kubeconfig, 'utf8'))
const redis = new Redis(Number(redisPort), '127.0.0.1')
/** @type {Map<string, number>} */
const seen = new Map()

/** @param {string} line */
function onEvent(line) {
  const { object } = JSON.parse(line)
  const { generation, name, uid } = object.metadata
  // A change of the status alone has the same generation. The controller does not write for it either.
  if (seen.get(uid) === generation) return
  seen.set(uid, generation)
  redis
    .pipeline()
    .set(`baseline:${uid}`, JSON.stringify(object.spec))
    .publish('baseline', `${name} ${generation}`)
    .exec()
    .catch((/** @type {unknown} */ error) => {
      console.error(error)
      process.exit(1)
    })
}

const path = '/apis/parley.chat/v1alpha1/chattenants?watch=true'

/** Watches, and watches again when the server closes the watch, as it does to clients that it finds slow. */
function watch() {
  const headers = { Authorization: `Bearer ${token}` }
  const call = request(new URL(path, url), { ca, headers }, (response) => {
    let rest = ''
    response.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) onEvent(line)
    })
    response.on('error', () => {})
    console.log('watching')
  })
  call.on('error', () => {})
  call.on('close', () => setTimeout(watch, 100))
  call.end()
}
watch()
