// Generates docs/reference/openapi.json: the OpenAPI document of the server API.
import { openApi } from '../../dist/gateway/api/openapi.js'

export function openApiPage() {
  return `${JSON.stringify(openApi(), null, 2)}\n`
}
