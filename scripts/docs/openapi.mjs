// Generates docs/reference/openapi.json: the OpenAPI document of the server API.
import { openApiDocument } from '../../dist/gateway/api/openapi.js'

export function openApiPage() {
  return `${JSON.stringify(openApiDocument(), null, 2)}\n`
}
