#!/usr/bin/env perl
# Usage: mojolicious.pl URL PROXY CA
use Mojo::Base -strict;
use Mojo::IOLoop;
use Mojo::UserAgent;

my ($url, $proxy, $ca) = @ARGV;

my $ua = Mojo::UserAgent->new;
$ua->proxy->http($proxy)->https($proxy);
$ua->ca($ca);

binmode STDOUT, ':encoding(UTF-8)';
$ua->websocket($url => sub {
  my ($ua, $tx) = @_;
  die 'no WebSocket: ', $tx->res->code // '', ' ', ($tx->res->error // {})->{message} // '' unless $tx->is_websocket;
  $tx->on(text => sub {
    my ($tx, $bytes) = @_;
    utf8::decode $bytes;
    say "text $bytes";
    $tx->send({binary => pack 'C*', 0, 1, 254, 255});
  });
  $tx->on(binary => sub {
    my ($tx, $bytes) = @_;
    say 'binary ', unpack 'H*', $bytes;
    $tx->finish(4001, 'bye');
  });
  $tx->send("buy \x{e9} \x{1f389}");
});
Mojo::IOLoop->start;
