// The OpenAPI document of the server API, generated from the schemas that parse the requests.
import { z } from 'zod'
import { apiMethods } from './methods.js'
import { ApiErrorBody, BatchParams } from './schema.js'

/**
 * Returns the OpenAPI 3.1 document. Its paths are relative to `/<namespace>/<name>`, the URL of a tenant on
 * every gateway.
 */
export function openApiDocument(): object {
  const paths = Object.entries(apiMethods).map(([name, { summary: about, request, result }]) => [
    `/api/${name}`,
    operation(name, { summary: about, request: jsonSchema(request), answer: answerOf(result) }),
  ])
  const batch = operation('batch', {
    summary: 'Several methods in one request.',
    request: jsonSchema(BatchParams),
    answer: batchAnswer(),
  })
  return {
    openapi: '3.1.0',
    info: {
      title: 'Parley server API',
      version: '1',
      description:
        'For tenants’ backends. A request with invalid content is answered with 200 and `error`. ' +
        'A request with invalid HTTP is answered with an error status.',
    },
    servers: [
      {
        url: '/{namespace}/{name}',
        variables: {
          namespace: { default: 'demo', description: 'The tenant’s namespace.' },
          name: { default: 'acme', description: 'The tenant’s name.' },
        },
      },
    ],
    security: [{ key: [] }, { authorization: [] }],
    paths: Object.fromEntries([...paths, ['/api/batch', batch]]),
    components: {
      securitySchemes: {
        key: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        authorization: {
          type: 'apiKey',
          in: 'header',
          name: 'Authorization',
          description: 'The word `apikey`, a space, and the key.',
        },
      },
      schemas: {
        Error: jsonSchema(ApiErrorBody),
        Refusal: {
          type: 'object',
          properties: {
            code: { type: 'string', description: 'docs/reference/codes.md' },
            message: { type: 'string' },
          },
          required: ['code', 'message'],
        },
      },
      responses: Object.fromEntries(
        statuses.map(([status, description]) => [`s${status}`, refusal(description)]),
      ),
    },
  }
}

const statuses = [
  ['400', 'The body is not a JSON object, or has another content type.'],
  ['401', 'The API key is missing, unknown or expired.'],
  ['404', 'There is no such tenant or method.'],
  ['413', 'The body exceeds 1 MiB.'],
  ['429', 'Too many concurrent requests; Retry-After says when to try again.'],
  ['500', 'The server failed because of a bug.'],
] as const

const errorRef = { $ref: '#/components/schemas/Error' }

function operation(name: string, parts: { summary: string; request: object; answer: object }): object {
  return {
    post: {
      operationId: name,
      summary: parts.summary,
      requestBody: { required: true, content: json(parts.request) },
      responses: {
        '200': { description: 'The result, or the error.', content: json(parts.answer) },
        ...Object.fromEntries(
          statuses.map(([status]) => [status, { $ref: `#/components/responses/s${status}` }]),
        ),
      },
    },
  }
}

function answerOf(result: z.ZodType): object {
  return { oneOf: [singleField('result', jsonSchema(result)), singleField('error', errorRef)] }
}

/** Each reply of a batch has its method's name as the key instead of `result`. */
function batchAnswer(): object {
  const results = Object.entries(apiMethods).map(([name, { result }]) =>
    singleField(name, jsonSchema(result)),
  )
  const replies = { type: 'array', items: { oneOf: [...results, singleField('error', errorRef)] } }
  return { oneOf: [singleField('replies', replies), singleField('error', errorRef)] }
}

function singleField(name: string, schema: object): object {
  return { type: 'object', properties: { [name]: schema }, required: [name] }
}

function refusal(description: string): object {
  return { description, content: json({ $ref: '#/components/schemas/Refusal' }) }
}

function json(schema: object): object {
  return { 'application/json': { schema } }
}

function jsonSchema(schema: z.ZodType): object {
  const { $schema: _draft, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return rest
}
