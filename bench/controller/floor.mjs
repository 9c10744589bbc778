// The bare floor beside which the controller is measured: one watch, one Redis key a change, nothing else. No cache, no queue, no check.
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
function take(line) {
  const { object } = JSON.parse(line)
  const { generation, name, uid } = object.metadata
  // Its own status is no news: a controller does not write for it either.
  if (seen.get(uid) === generation) return
  seen.set(uid, generation)
  redis
    .pipeline()
    .set(`floor:${uid}`, JSON.stringify(object.spec))
    .publish('floor', `${name} ${generation}`)
    .exec()
    .catch((/** @type {unknown} */ error) => {
      console.error(error)
      process.exit(1)
    })
}

const path = '/apis/parley.chat/v1alpha1/chattenants?watch=true'
request(new URL(path, url), { ca, headers: { Authorization: `Bearer ${token}` } }, (response) => {
  let rest = ''
  response.setEncoding('utf8').on('data', (/** @type {string} */ chunk) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
  console.log('watching')
}).end()
