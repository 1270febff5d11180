// The workbook, made from the queries by infra/workbook.py.
param location string
param tags object
param insightsId string

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'scimgate')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'scimgate'
    category: 'workbook'
    sourceId: insightsId
    version: 'Notebook/1.0'
    serializedData: loadTextContent('../workbook.json')
  }
}
