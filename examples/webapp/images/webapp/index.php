<?php
// The product page: stores a product name and a product ID, and lists what is stored.
// To connect it to the database, put the name of the database's Service in place of localhost.
$servername = "localhost";
if (getenv("DB_SERVER")) $servername = getenv("DB_SERVER");
$username = "root";
$password = getenv("DB_PASSWORD") ?: "weft";
$database = "ProductDetails";

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$error = null;
$products = [];
try {
  $db = mysqli_init();
  $db->options(MYSQLI_OPT_CONNECT_TIMEOUT, 3);
  $db->real_connect($servername, $username, $password, $database);
  if ($_SERVER["REQUEST_METHOD"] === "POST") {
    $name = trim($_POST["product_name"] ?? "");
    $id = trim($_POST["product_id"] ?? "");
    if ($name === "" || $id === "") throw new InvalidArgumentException("Both fields are needed.");
    $insert = $db->prepare("INSERT INTO products (product_name, product_id) VALUES (?, ?)");
    $insert->bind_param("ss", $name, $id);
    $insert->execute();
    header("Location: " . $_SERVER["PHP_SELF"], true, 303);
    exit;
  }
  $products = $db->query("SELECT product_name, product_id FROM products")->fetch_all(MYSQLI_ASSOC);
} catch (InvalidArgumentException $problem) {
  http_response_code(400);
  $error = $problem->getMessage();
} catch (mysqli_sql_exception $problem) {
  $error = "The database server \"$servername\" said: " . $problem->getMessage();
}
$text = fn ($value) => htmlspecialchars($value, ENT_QUOTES);
?>
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Products</title>
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color: #1d2733; }
    form { display: flex; gap: .75rem; flex-wrap: wrap; align-items: end; margin: 1.5rem 0; }
    label { display: grid; gap: .25rem; font-size: .875rem; color: #52606d; }
    input, button { font: inherit; padding: .5rem .75rem; border: 1px solid #9aa5b1; border-radius: 6px; }
    button { background: #1f5fbf; border-color: #1f5fbf; color: #fff; cursor: pointer; }
    table { border-collapse: collapse; width: 100%; }
    th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid #e4e7eb; }
    .error { background: #ffe3e3; color: #8a1c1c; padding: .75rem 1rem; border-radius: 6px; }
    footer { margin-top: 2rem; font-size: .8rem; color: #7b8794; }
  </style>
</head>
<body>
  <h1>Products</h1>
<?php if ($error !== null): ?>
  <p class="error"><?= $text($error) ?></p>
<?php endif ?>
  <form method="post">
    <label>Product name <input name="product_name" maxlength="10" required></label>
    <label>Product ID <input name="product_id" maxlength="11" required></label>
    <button>Add</button>
  </form>
  <table>
    <thead><tr><th>Product name</th><th>Product ID</th></tr></thead>
    <tbody>
<?php foreach ($products as $product): ?>
      <tr><td><?= $text($product["product_name"]) ?></td><td><?= $text($product["product_id"]) ?></td></tr>
<?php endforeach ?>
    </tbody>
  </table>
  <footer>Served by <?= $text(gethostname()) ?> at <?= $text($_SERVER["SERVER_ADDR"]) ?> to <?= $text($_SERVER["REMOTE_ADDR"]) ?>.</footer>
</body>
</html>
